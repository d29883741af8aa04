/**
 * Host ports of pods on this node: mapping a pod's, and letting go of them. The order is what makes a kill at any point harmless: a record
 * comes before what is in the kernel, and does not hold any more before that goes. What the kernel maps is what records say whose attachments there are.
 */
import { constants } from "node:os";
import { readSysctl, SysError, writeSysctlIfAny } from "../../sys/index.ts";
import { hostIfname } from "../pod-link/index.ts";
import { HostPortTaken } from "./errors.ts";
import { familiesOf, hostPortText, isForAll, overlap, type PortMapping } from "./mapping.ts";
import type { PortTable } from "./port-table.ts";
import { type HostPortRecord, type HostPortRecords, podText, type PortOwner } from "./records.ts";
import { endFormer, endLeft } from "./stale.ts";

/** What a pod is to have. */
export type HostPortRequest = Omit<HostPortRecord, "since">;

export interface HostPortsOptions {
  records: HostPortRecords;
  table: PortTable;
  /** Whether the attachment that a record goes with is there, and its sandbox not provably dead. @throws Error of the system */
  isAttached: (record: HostPortRecord) => boolean;
  /** What ends connections that a mapping leaves astray; the kernel's own by default. */
  connections?: { endFormer: typeof endFormer; endLeft: typeof endLeft };
}

/** Whether a mapping holds for 127.0.0.1. */
const isForLoopback = (mapping: PortMapping): boolean =>
  familiesOf(mapping).includes(4) && (isForAll(mapping) || mapping.hostIp.startsWith("127."));

/** Host ends whose pods are reached by way of 127.0.0.1. */
export const loopbackEnds = (records: readonly HostPortRequest[]): string[] =>
  records
    .filter(({ ips, ports }) => ips.some((ip) => ip.includes(".")) && ports.some(isForLoopback))
    .map(({ owner: { containerId, ifname } }) => hostIfname(containerId, ifname));

/**
 * Has the kernel send what is from 127.0.0.1 to a pod, and take its answers; the table drops all else that would come by it.
 * @returns whether that was not so @throws SysError
 */
export function allowLoopback(hostEnd: string): boolean {
  const key = `net.ipv4.conf.${hostEnd}.route_localnet`;
  try {
    // A device that is gone has no parameters.
    return readSysctl(key) === "0" && writeSysctlIfAny(key, 1);
  } catch (error) {
    if (error instanceof SysError && error.errno === constants.errno.ENOENT) return false;
    throw error;
  }
}

const mappingText = (mapping: PortMapping): string => `host port ${hostPortText(mapping)} to ${mapping.containerPort}`;

/** See the header. */
export class HostPorts {
  readonly #options: HostPortsOptions;
  readonly #connections: NonNullable<HostPortsOptions["connections"]>;

  constructor(options: HostPortsOptions) {
    this.#options = options;
    this.#connections = options.connections ?? { endFormer, endLeft };
  }

  /**
   * Maps a pod's ports, after its link was made. When this returns the kernel has them.
   * @throws HostPortTaken naming the pod that has one of them, HostPortsNotReady, HostPortsUnsupported; Error of the system. What was begun goes with
   * {@link unmap}
   */
  async map(record: HostPortRequest): Promise<void> {
    const { records, table } = this.#options;
    // First the record, then a look at the others': of two at once none is mapped over the other.
    records.write(record);
    for (const other of this.#others(record)) await this.#exclude(record, other);
    for (const hostEnd of loopbackEnds([record])) allowLoopback(hostEnd);
    await table.put(record);
    await this.#connections.endFormer(record);
  }

  /** Maps nothing to an attachment any more, whatever was. @throws Error of the system, ElementsRefused; the next call goes on then */
  async unmap(owner: PortOwner): Promise<void> {
    const { records, table } = this.#options;
    if (!records.leave(owner)) return;
    const going = records.going(owner);
    await table.take(going, this.#others({ owner }));
    await this.#connections.endLeft(going);
    records.forget(owner);
  }

  /**
   * How an attachment's mappings differ from what is recorded, and from what its runtime asks for, in words.
   * @throws Error of the system, ElementsRefused
   */
  differences({ containerId, ifname }: PortOwner, asked: readonly PortMapping[]): string[] {
    const { records, table } = this.#options;
    const own = records.list().filter(({ owner }) => owner.containerId === containerId && owner.ifname === ifname);
    const recorded = new Set(own.flatMap(({ ports }) => ports.map(mappingText)));
    return [
      ...asked
        .filter((mapping) => !recorded.has(mappingText(mapping)))
        .map((one) => `${mappingText(one)} is not recorded`),
      ...own.flatMap((record) => table.missing(record)).map((one) => `${mappingText(one)} is not in the packet filter`),
    ];
  }

  /** Lets go of what nobody has any more. @throws Error of the system, ElementsRefused */
  async collect(): Promise<void> {
    const { records, isAttached } = this.#options;
    const dead = records.list().filter((record) => !isAttached(record));
    for (const owner of [...dead.map(({ owner }) => owner), ...records.left()]) await this.unmap(owner);
  }

  /** The records of all other attachments that hold. */
  #others({ owner }: Pick<HostPortRecord, "owner">): HostPortRecord[] {
    const { containerId, ifname } = owner;
    return this.#options.records
      .list()
      .filter(({ owner: other }) => other.containerId !== containerId || other.ifname !== ifname);
  }

  /** @throws HostPortTaken where another pod has one of the ports */
  async #exclude(record: HostPortRequest, other: HostPortRecord): Promise<void> {
    const taken = record.ports.find((mine) => other.ports.some((theirs) => overlap(mine, theirs)));
    if (!taken) return;
    if (!this.#options.isAttached(other)) return await this.unmap(other.owner);
    throw new HostPortTaken(`host port ${hostPortText(taken)} of this node is taken by ${podText(other)}`);
  }
}
