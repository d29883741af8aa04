/**
 * STATUS: whether an ADD would be served now (CNI 1.1.0, section 2). 50 while it would not: the network is not published, the agent or
 * the API server is needed and away, the configuration or the disk refuses every pod; 51 when pods that exist may suffer as well: the
 * overlay's device or what it sends through is gone, or a family has no address left.
 */
import { cidrContains, FAMILIES, familyOf } from "../../addr/index.ts";
import type { PublishedNetwork } from "../../config/index.ts";
import { podSpan } from "../../ipam/local/index.ts";
import { mtuOf } from "./attach.ts";
import { Delegate } from "../delegate.ts";
import { CniError, CODE } from "../spec/errors.ts";
import { agentNeeded } from "./additional-interfaces.ts";
import { readOptions } from "../spec/options.ts";
import { requirePublished } from "../published-state.ts";
import type { VerbInput, VerbOutput } from "../spec/request.ts";
import { toCniError } from "./translate.ts";

/** The CIDRs of a family that has no free address in any of them, if there is one. */
function exhausted(podCidrs: readonly string[], used: readonly string[]): string[] | undefined {
  const hasRoom = (cidr: string): boolean => {
    const { first, last } = podSpan(cidr);
    return BigInt(used.filter((ip) => cidrContains(cidr, ip)).length) < last - first + 1n;
  };
  return FAMILIES.map((family) => podCidrs.filter((cidr) => familyOf(cidr) === family)).find(
    (cidrs) => cidrs.length > 0 && !cidrs.some(hasRoom),
  );
}

/** Serves STATUS. @throws CniError 50 or 51, or a delegated plugin's own */
export async function status(input: VerbInput): Promise<VerbOutput> {
  const published = as(CODE.notAvailable, () => requireServing(input));
  if (published) {
    as(CODE.limited, () => requireDevices(input, published));
    as(CODE.notAvailable, () => void mtuOf(readOptions(input.config.raw, {}), published));
  }
  as(CODE.notAvailable, () => requireDisk(input));
  if (input.config.ipam !== undefined) await new Delegate(input.config, input.env).forward("STATUS");
  else if (published) as(CODE.notAvailable, () => requireAddresses(input, published));
  return { stdout: "" };
}

/** Whatever fails is an answer to STATUS: with one of its codes, and the words of what failed. */
function as<T>(code: number, ask: () => T): T {
  try {
    return ask();
  } catch (error) {
    const { code: own, message, details } = toCniError(error);
    if (own === CODE.notAvailable || own === CODE.limited) throw error;
    throw new CniError(code, message, details, { cause: error });
  }
}

/** What is published; undefined for a network that this node would join with the next pod. */
function requireServing({ config, host, agentThere }: VerbInput): PublishedNetwork | undefined {
  const { network, runDir } = config;
  if (host.joinable?.(network) === "not joined" && host.readPublished(runDir, network) === undefined) return undefined;
  const published = requirePublished(host, config, CODE.notAvailable);
  if (published.needsAgent && !host.joinable && !agentThere) throw agentNeeded(network);
  return published;
}

function requireDevices({ config, host }: VerbInput, { device, hostNetns, bridge }: PublishedNetwork): void {
  const missing = [device, ...(bridge ? [bridge.name] : [])].find((name) => !host.deviceUp(name, hostNetns));
  if (missing !== undefined) {
    const what = missing === device ? "VXLAN device" : "bridge";
    throw new CniError(
      CODE.limited,
      `${what} ${missing} of pod network "${config.network}" is missing or down`,
      "Pods reach no other node until skylane-agent on this node has made it again; see whether the agent runs.",
    );
  }
  const fault = host.underlayFault(device, hostNetns);
  if (fault === undefined) return;
  throw new CniError(
    CODE.limited,
    `pod network "${config.network}" has no underlay: ${fault}`,
    "Pods reach no other node until the address is back, or skylane-agent on this node has chosen another one.",
  );
}

function requireDisk({ config: { dataDir }, host }: VerbInput): void {
  try {
    host.requireWritable(dataDir);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const details =
      "Skylane keeps its records of attachments and addresses there; see that the file system is writable and not full.";
    throw new CniError(CODE.notAvailable, `nothing can be written to ${dataDir}: ${reason}`, details, { cause: error });
  }
}

function requireAddresses({ config, host }: VerbInput, { podCidrs, hostNetns }: PublishedNetwork): void {
  // A network with a namespace of its own claims further blocks when it needs them.
  if (hostNetns !== undefined) return;
  const used = host
    .ipam(config)
    .list()
    .map(({ ip }) => ip);
  const full = exhausted(podCidrs, used);
  if (full === undefined) return;
  const [cidr = ""] = full;
  throw new CniError(
    CODE.limited,
    `no free IPv${familyOf(cidr)} address in pod CIDR ${full.join(", ")}`,
    `All ${used.filter((ip) => full.some((one) => cidrContains(one, ip))).length} are in use. Pods must go, or the node needs a larger pod CIDR.`,
  );
}
