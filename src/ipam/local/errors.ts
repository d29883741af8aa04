/**
 * Why an address was not given. Each kind is a class, since the CNI plugin answers each with another error
 * code; each message says which addresses, who has them and what to do, since it ends up in a pod's Events.
 */

/** Any refusal of the address management. */
export class IpamError extends Error {
  override name = "IpamError";
}

/** Every address of a pod CIDR (or of the asked-for range in it) is in use; CNI answers with code 51. */
export class IpamExhausted extends IpamError {
  override name = "IpamExhausted";
  /** The CIDRs or ranges without a free address. */
  readonly pool: string;
  /** How many addresses pods may have there, and how many of them are in use. */
  readonly total: bigint;
  readonly used: bigint;

  constructor(pool: string, total: bigint, used: bigint) {
    super(
      `no free address in ${pool}: ${used} of its ${total} pod addresses are in use; ` +
        "remove pods from this node or give it a larger pod CIDR",
    );
    this.pool = pool;
    this.total = total;
    this.used = used;
  }
}

/** An asked-for address belongs to another attachment. */
export class IpamTaken extends IpamError {
  override name = "IpamTaken";
  readonly ip: string;

  constructor(ip: string, holder: string) {
    super(`address ${ip} was asked for, but is held by ${holder}`);
    this.ip = ip;
  }
}

/** The attachment holds addresses already: a second ADD without a DEL between. */
export class IpamDuplicate extends IpamError {
  override name = "IpamDuplicate";
  readonly ips: readonly string[];

  constructor(containerId: string, ifname: string, ips: readonly string[]) {
    super(`container ${containerId} interface ${ifname} already holds ${ips.join(", ")}; a DEL must come first`);
    this.ips = ips;
  }
}

/** The request or the configuration cannot be met by any state of the node. */
export class IpamInvalid extends IpamError {
  override name = "IpamInvalid";
}

/** The state on disk could not be read or written; nothing was reserved. `cause` is the system's error. */
export class IpamStorageError extends IpamError {
  override name = "IpamStorageError";
  /** The system's error code ("ENOSPC"), where there is one. */
  readonly code: string | undefined;

  constructor(doing: string, dir: string, cause: unknown) {
    const code = errnoCode(cause);
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`${doing} under ${dir}: ${why}${code === "ENOSPC" ? " (the disk is full: free space or inodes)" : ""}`, {
      cause,
    });
    this.code = code;
  }
}

/** The system's error code of a failed file operation, if it is one. */
export function errnoCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
