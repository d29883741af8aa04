/**
 * The sandbox that a request names: that it exists, is a network namespace, and is not the host's own, in which
 * an attachment would rename and readdress the node's interfaces.
 */
import { printable } from "../addr/index.ts";
import { CniError, CODE, errnoOf } from "./spec/errors.ts";
import type { Host } from "./host.ts";

/** @throws CniError 3 when there is no such sandbox, 4 when CNI_NETNS names something else. */
export function requireSandbox(host: Host, netns: string): void {
  const shown = printable(netns);
  let own: boolean;
  try {
    own = host.isOwnNetns(netns);
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") {
      throw new CniError(CODE.containerUnknown, `sandbox ${shown} does not exist`, "CNI_NETNS names no file.", {
        cause: error,
      });
    }
    throw new CniError(
      CODE.invalidEnvironment,
      `invalid environment variable CNI_NETNS: "${shown}"`,
      `It is not a network namespace: ${error instanceof Error ? error.message : String(error)}.`,
      { cause: error },
    );
  }
  if (own) {
    throw new CniError(
      CODE.invalidEnvironment,
      `invalid environment variable CNI_NETNS: "${shown}"`,
      "It is the host's own network namespace; pods with host networking need no CNI call.",
    );
  }
}

/** The sandbox for DEL: undefined where there is nothing that may be entered; never an error. */
export function usableSandbox(host: Host, netns: string | undefined): string | undefined {
  if (!netns?.startsWith("/") || netns.includes("\0")) return undefined;
  try {
    return host.isOwnNetns(netns) ? undefined : netns;
  } catch {
    return undefined; // gone, or never a namespace: there is nothing to clean inside
  }
}
