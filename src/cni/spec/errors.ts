/**
 * CNI errors: what a runtime reads on stdout when a verb fails. Every failure leaves the plugin as one of
 * these, with a code from the spec where it has one (CNI 1.1.0, section 5) and a code of our own from 100.
 * `msg` says what happened to whom; `details` says why and what to do.
 */
import { inspect } from "node:util";
import { NEWEST_VERSION } from "./version.ts";

/** Error codes: the spec's, then Skylane's own. */
export const CODE = {
  /** The configuration's version is none of ours, or too old for the verb. */
  incompatibleVersion: 1,
  /** A value that we do not support; names key and value. */
  unsupportedField: 2,
  /** The sandbox does not exist: nothing needs to be cleaned up. */
  containerUnknown: 3,
  /** Environment variables missing or malformed; names them. */
  invalidEnvironment: 4,
  /** Reading or writing failed. */
  io: 5,
  /** Not JSON, or not an object. */
  decode: 6,
  /** The network configuration is refused; names the key. */
  invalidConfig: 7,
  /** Something transient; the runtime should call again. */
  tryAgain: 11,
  /** No ADD can be served now. */
  notAvailable: 50,
  /** No ADD can be served, and existing pods may be limited. */
  limited: 51,
  /** Own: the installation is broken (the launcher prints this one), or a fault of Skylane itself. */
  internal: 100,
  /** Own: the attachment exists already, or something of somebody else's has its name or address. */
  alreadyAttached: 101,
  /** Own: the kernel refused an operation. */
  kernel: 102,
  /** Own: CHECK found differences; details names each. */
  checkFailed: 103,
  /** Own: a delegated IPAM plugin failed without an error of its own. */
  delegate: 104,
  /** Own: the pod asks for a network that does not exist or that its namespace may not attach to. */
  notAllowed: 105,
} as const;

/** A failure as the spec shapes it. */
export class CniError extends Error {
  override name = "CniError";
  /** One of {@link CODE}, or a delegated plugin's own code. */
  readonly code: number;
  /** Why, and what to do; may be empty. */
  readonly details: string;

  constructor(code: number, message: string, details = "", options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.details = details;
  }
}

/** The error as JSON for stdout, in the version that the request spoke (the newest when it spoke none of ours). */
export function errorJson(error: CniError, cniVersion: string = NEWEST_VERSION): string {
  const body = { cniVersion, code: error.code, msg: error.message, ...(error.details && { details: error.details }) };
  return `${JSON.stringify(body, undefined, 2)}\n`;
}

/** The POSIX name of a failed system call ("ENOENT"), if the error carries one. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** The messages of an error and its causes, outermost first, as one line; a cause that was quoted already is left out. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let e = error, depth = 0; e !== undefined && e !== null && depth < 5; depth++) {
    const text = e instanceof Error ? e.message || e.name : inspect(e);
    if (!parts.some((part) => part.includes(text))) parts.push(text);
    e = e instanceof Error ? e.cause : undefined;
  }
  return parts.join(": ");
}
