/**
 * What is mapped, on disk: symbolic links whose targets are their content, as records of attachments are (src/cni/attachments.ts), named by
 * the host end of the pod's link. A record is there before anything of it is in the kernel. When its pod goes it is renamed first, so that
 * nobody puts the ports back, and unlinked once the kernel has nothing of it: whoever is killed in between leaves something that says what to remove.
 *
 * A pod with more mappings than one link can hold has several.
 */
import { readdirSync, readlinkSync, renameSync, symlinkSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { parseIp } from "../../addr/index.ts";
import { makeDirectory } from "../../sys/index.ts";
import { hostIfname } from "../pod-link/index.ts";
import { type PortMapping, type Protocol, PROTOCOLS } from "./mapping.ts";

/** Name of the directory in the data directory. */
export const HOST_PORTS = "host-ports";
/** Mappings in one record: the longest, with an IPv6 address, fill two thirds of a link's target. */
const MAPPINGS_PER_RECORD = 48;
/** Ends the name of a record whose pod is going. */
const GOING = "~";

/** An interface of a container, as in CNI. */
export interface PortOwner {
  containerId: string;
  ifname: string;
}

/** A pod's mappings. */
export interface HostPortRecord {
  owner: PortOwner;
  /** The pod network of the attachment whose record this one goes with. */
  network: string;
  /** NAMESPACE/NAME, where the runtime says it. */
  pod?: string;
  /** The boot in which it was made; no link outlives it. */
  bootId: string;
  /** When it was written, in seconds of CLOCK_MONOTONIC. */
  since: number;
  /** The pod's addresses, at most one a family. */
  ips: readonly string[];
  ports: readonly PortMapping[];
}

/** What of it is in the kernel. */
export type Mapped = Pick<HostPortRecord, "ips" | "ports">;

/** How a message calls the pod. */
export const podText = ({ pod, owner }: Pick<HostPortRecord, "pod" | "owner">): string =>
  pod === undefined ? `container ${owner.containerId}` : `pod ${pod} (container ${owner.containerId.slice(0, 13)})`;

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

const encode = ({ ports, ...record }: HostPortRecord): string =>
  JSON.stringify({
    ...record,
    ports: ports.map(({ protocol, hostPort, containerPort, hostIp }) =>
      [protocol, hostPort, containerPort, hostIp].join(" "),
    ),
  });

function decode(text: string): HostPortRecord | undefined {
  try {
    const { ports, ...record } = JSON.parse(text) as Omit<HostPortRecord, "ports"> & { ports: string[] };
    const { owner, network, bootId, since, ips } = record;
    if (typeof since !== "number") return undefined;
    if ([owner.containerId, owner.ifname, network, bootId].some((value) => typeof value !== "string")) return undefined;
    return { ...record, ips: ips.map(parseIp), ports: ports.map(mappingOf) };
  } catch {
    return undefined; // not one of ours: it is left alone
  }
}

/** @throws RangeError when it is none */
function mappingOf(text: string): PortMapping {
  const [protocol = "", hostPort, containerPort, hostIp = ""] = text.split(" ");
  const isPort = (port: number): boolean => Number.isInteger(port) && port > 0 && port < 65_536;
  const ports = { hostPort: Number(hostPort), containerPort: Number(containerPort) };
  if (!Object.hasOwn(PROTOCOLS, protocol) || !Object.values(ports).every(isPort))
    throw new RangeError(`no port mapping: ${text}`);
  return { protocol: protocol as Protocol, ...ports, hostIp: hostIp === "" ? "" : parseIp(hostIp) };
}

/** The records of one node. */
export class HostPortRecords {
  readonly #dir: string;
  readonly #unlink: (path: string) => void;

  /** @param unlink removes a record's name; unlink(2) by default */
  constructor(dataDir: string, unlink: (path: string) => void = unlinkSync) {
    this.#dir = join(dataDir, HOST_PORTS);
    this.#unlink = unlink;
  }

  /** Names of the records that hold, sorted: two times with the same names have the same records. @throws Error with a POSIX `code` */
  names(): string[] {
    return this.#all()
      .filter((name) => !name.endsWith(GOING))
      .sort();
  }

  /** The records that hold, the oldest first. @throws Error with a POSIX `code` */
  list(): HostPortRecord[] {
    return this.#read(this.names()).sort((a, b) => a.since - b.since);
  }

  /** Those of an attachment whose pod is going. @throws Error with a POSIX `code` */
  going(owner: PortOwner): HostPortRecord[] {
    return this.#read(this.#of(owner).filter((name) => name.endsWith(GOING)));
  }

  /** Attachments that have records whose pods are going: somebody was killed over it. @throws Error with a POSIX `code` */
  left(): PortOwner[] {
    return this.#read(this.#all().filter((name) => name.endsWith(GOING))).map(({ owner }) => owner);
  }

  /** Records a pod's mappings. @throws Error with a POSIX `code`; nothing is left of them then */
  write(mapped: Omit<HostPortRecord, "since">): void {
    const { containerId, ifname } = mapped.owner;
    const name = hostIfname(containerId, ifname);
    const record = { ...mapped, since: Number(process.hrtime.bigint() / 1_000n) / 1e6 };
    try {
      for (let first = 0, part = 0; first < record.ports.length; first += MAPPINGS_PER_RECORD, part++) {
        const ports = record.ports.slice(first, first + MAPPINGS_PER_RECORD);
        this.#create(encode({ ...record, ports }), `${name}.${part}`);
      }
    } catch (error) {
      this.leave(record.owner);
      this.forget(record.owner);
      throw error;
    }
  }

  /** Has an attachment's records hold no longer. @returns whether there were any, of this time or an earlier one @throws Error with a POSIX `code` */
  leave(owner: PortOwner): boolean {
    const names = this.#of(owner);
    for (const name of names)
      if (!name.endsWith(GOING))
        ignoring("ENOENT", () => renameSync(join(this.#dir, name), join(this.#dir, name + GOING)));
    return names.length > 0;
  }

  /** Removes what {@link leave} has put aside. @throws Error with a POSIX `code` */
  forget(owner: PortOwner): void {
    for (const name of this.#of(owner))
      if (name.endsWith(GOING)) ignoring("ENOENT", () => this.#unlink(join(this.#dir, name)));
  }

  #of({ containerId, ifname }: PortOwner): string[] {
    const prefix = `${hostIfname(containerId, ifname)}.`;
    return this.#all().filter((name) => name.startsWith(prefix));
  }

  #all(): string[] {
    try {
      return readdirSync(this.#dir);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return [];
      throw error;
    }
  }

  #read(names: readonly string[]): HostPortRecord[] {
    return names.flatMap((name) => {
      // ENOENT: gone meanwhile; EINVAL: no symbolic link, so none of ours.
      const read = (): HostPortRecord | undefined => decode(readlinkSync(join(this.#dir, name)));
      return ignoring("ENOENT", () => ignoring("EINVAL", read)) ?? [];
    });
  }

  #create(target: string, name: string): void {
    const path = join(this.#dir, name);
    // A container's id and interface are never used twice at once: what has the name is left of an attempt before this one.
    for (let attempt = 0; ; attempt++)
      try {
        symlinkSync(target, path);
        return;
      } catch (error) {
        const code = codeOf(error);
        if (attempt > 1) throw error;
        if (code === "ENOENT") makeDirectory(this.#dir, 0o700);
        else if (code === "EEXIST") this.#unlink(path);
        else throw error;
      }
  }
}

/** Runs something that may fail with one POSIX code. */
function ignoring<T>(code: string, run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (codeOf(error) === code) return undefined;
    throw error;
  }
}
