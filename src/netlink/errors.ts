/**
 * What can go wrong between Skylane and the kernel. An error names the change or question, the kernel's error in the C
 * library's words, and the kernel's own explanation (extended acknowledgement) where it gives one.
 */
import { errnoName, errnoText } from "../sys/index.ts";
import { describeOperation } from "./describe.ts";
import type { Operation } from "./types.ts";

/** What a {@link NetlinkError} is made of. */
export interface NetlinkErrorDetails {
  /** The kernel's error number, positive. */
  errno: number;
  /** What was being done, as it goes after the code: "dumping links". Made from the operation when absent. */
  doing?: string;
  operation?: Operation;
  /** The kernel's explanation (NLMSGERR_ATTR_MSG). */
  extack?: string | undefined;
  /** Names interfaces in the text. */
  nameOf?: (ifindex: number) => string | undefined;
}

/** The kernel refused: `EEXIST adding route 10.244.2.0/24 via 10.244.2.0 dev sky.4096: File exists`. */
export class NetlinkError extends Error {
  override readonly name: string = "NetlinkError";
  /** Symbolic error code: "EEXIST". */
  readonly code: string;
  readonly errno: number;
  /** The kernel's own explanation, such as "VXLAN ID must be lower than 16777216". */
  declare readonly extack?: string;
  /** The operation that was refused, if it was one. */
  declare readonly operation?: Operation;

  constructor(details: NetlinkErrorDetails) {
    const { errno, operation, extack } = details;
    const doing = details.doing ?? (operation ? describeOperation(operation, details.nameOf) : "talking to the kernel");
    super(`${errnoName(errno)} ${doing}: ${errnoText(errno)}${extack ? ` (${extack})` : ""}`);
    this.code = errnoName(errno);
    this.errno = errno;
    if (extack) this.extack = extack;
    if (operation) this.operation = operation;
  }
}

/** The kernel did not answer in time. What was asked for may have been done. */
export class NetlinkTimeout extends Error {
  override readonly name = "NetlinkTimeout";
  readonly code = "ETIMEDOUT";
  /** The limit that passed, in milliseconds. */
  readonly timeoutMs: number;

  constructor(doing: string, timeoutMs: number) {
    super(`no answer from the kernel within ${timeoutMs} ms when ${doing}`);
    this.timeoutMs = timeoutMs;
  }
}

/** A dump was interrupted by changes again and again, so that no consistent list could be read. */
export class DumpInterrupted extends Error {
  override readonly name = "DumpInterrupted";
  readonly code = "EINTR";

  constructor(doing: string, attempts: number) {
    super(`${doing} was interrupted ${attempts} times by changes of what is listed; no consistent list could be read`);
  }
}

/** Bytes that are no netlink message, or one whose content contradicts itself. */
export class MalformedMessage extends Error {
  override readonly name = "MalformedMessage";
  readonly code = "EBADMSG";
}
