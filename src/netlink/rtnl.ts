/**
 * rtnetlink in Skylane's words: lists and single objects as plain values, changes as operations. One socket, one
 * question at a time, synchronous.
 */
import type { Family } from "../addr/index.ts";
import { deleteLinks, type LinkFailure } from "./transport/background.ts";
import { sendPacket } from "./transport/batch.ts";
import { Connection, type PortFollower } from "./transport/connection.ts";
import {
  type Created,
  createLink,
  createLinkInBackground,
  createLinkTold,
  type Creation,
  isCreatedAlone,
} from "./create-link.ts";
import { NetlinkError } from "./errors.ts";
import type { KernelSocket } from "../sys/index.ts";
import * as questions from "./transport/questions.ts";
import type {
  Address,
  BridgeFdbEntry,
  DeviceParameters,
  FdbEntry,
  Filter,
  Link,
  Neighbour,
  Operation,
  OperationFailure,
  Qdisc,
  Route,
  Rule,
} from "./types.ts";

const DEFAULT_TIMEOUT_MS = 5_000;
const EINVAL = 22;

export interface RtnlOptions {
  /** Namespace (path or file descriptor) to talk in; the process's own by default. */
  netns?: number | string;
  /** How long to wait for an answer, in milliseconds; 5,000 by default. */
  timeoutMs?: number;
}

/**
 * A conversation with one namespace's rtnetlink. Every method is synchronous and may throw {@link NetlinkError} (the
 * kernel refused), NetlinkTimeout, MalformedMessage, and SysError (the socket itself failed); lists may throw
 * DumpInterrupted.
 */
export class Rtnl implements Disposable {
  readonly #connection: Connection;
  /** Sockets that have served a removal of links and can serve another. */
  readonly #spare: KernelSocket[] = [];
  #closed = false;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Opens a socket that stays in its namespace. @throws SysError when the namespace cannot be entered */
  static open(options: RtnlOptions = {}): Rtnl {
    const { netns, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    return new Rtnl(Connection.open(netns === undefined ? { timeoutMs } : { netns, timeoutMs }));
  }

  /** All devices. */
  links(): Link[] {
    return questions.links(this.#connection);
  }

  /** The kernel parameters of all devices, to be compared with those of before. */
  parameters(): DeviceParameters[] {
    return questions.parameters(this.#connection);
  }

  /** The device with a name or index; `undefined` when there is none. */
  link(nameOrIndex: string | number): Link | undefined {
    return questions.link(this.#connection, nameOrIndex);
  }

  /**
   * A device of another namespace, asked for without entering it (Linux 4.15): the other end of a veth pair.
   * @param netnsId the number by which this namespace knows that one; {@link Link.peerNetnsId}
   */
  linkThere(netnsId: number, index: number): Link | undefined {
    return questions.linkThere(this.#connection, netnsId, index);
  }

  /** Addresses, of all devices and both families unless said otherwise. */
  addresses(filter: { family?: Family; ifindex?: number } = {}): Address[] {
    return questions.addresses(this.#connection, filter);
  }

  /**
   * Routes of all tables except the local one (255), which the kernel keeps by itself and which must be asked for; of
   * both families unless said otherwise. Cached routes are not among them.
   */
  routes(filter: { family?: Family; table?: number; protocol?: number; ifindex?: number } = {}): Route[] {
    return questions.routes(this.#connection, filter);
  }

  /** ARP and ND entries, in every state. */
  neighbours(filter: { family?: Family; ifindex?: number } = {}): Neighbour[] {
    return questions.neighbours(this.#connection, filter);
  }

  /** FDB entries of a VXLAN device that lead to a remote VTEP. */
  fdb(filter: { ifindex: number }): FdbEntry[] {
    return questions.fdb(this.#connection, filter.ifindex);
  }

  /** FDB entries of a bridge, of all its ports and its own. */
  bridgeFdb(filter: { master: number }): BridgeFdbEntry[] {
    return questions.bridgeFdb(this.#connection, filter.master);
  }

  /** Policy routing rules, of both families unless said otherwise. */
  rules(filter: { family?: Family } = {}): Rule[] {
    return questions.rules(this.#connection, filter.family);
  }

  /** Queueing disciplines of all devices. */
  qdiscs(): Qdisc[] {
    return questions.qdiscs(this.#connection);
  }

  /** Filters of what a device receives; none where nothing is there for them to hang on. */
  ingressFilters(ifindex: number): Filter[] {
    return questions.filters(this.#connection, ifindex, "receives");
  }

  /** Filters of what a device sends, of whom the same holds; only for one that has a queueing discipline of kind "clsact". */
  egressFilters(ifindex: number): Filter[] {
    return questions.filters(this.#connection, ifindex, "sends");
  }

  /**
   * The number by which this namespace's links name another one (`peerNetnsId`); `undefined` when none of them has ever led there.
   * @param fd the other namespace, open in this process
   */
  netnsId(fd: number): number | undefined {
    return questions.netnsId(this.#connection, fd);
  }

  /**
   * The route that a packet to `ip` would take now: device, gateway, preferred source, table; `dst` is the address itself.
   * @param from an address of the host that the packet is sent from; as the kernel chooses by default
   * @throws NetlinkError ENETUNREACH and others when there is none
   */
  routeTo(ip: string, from?: string): Route {
    return questions.routeTo(this.#connection, ip, from);
  }

  /** Makes one change. @throws NetlinkError naming the change and the kernel's reason */
  execute(operation: Operation): void {
    const [failure] = this.executeAll([operation]);
    if (failure) throw failure.error;
  }

  /** Makes a device and returns it as it was made; `undefined` when it is gone again. @throws NetlinkError as {@link execute} */
  create(operation: Creation): Link | undefined {
    if (!isCreatedAlone(operation)) {
      return this.#asMade(operation, createLinkTold(this.#connection, operation));
    }
    this.execute(operation);
    return this.link(operation.link.name);
  }

  /**
   * The same for a device that takes one message, by a thread of the pool; nothing else may be asked here until this has resolved.
   * @throws NetlinkError as {@link execute}, RangeError for one that takes several
   */
  async createInBackground(operation: Creation): Promise<Link | undefined> {
    if (isCreatedAlone(operation)) throw new RangeError(`making ${operation.link.name} takes several messages`);
    return this.#asMade(operation, await createLinkInBackground(this.#connection, operation));
  }

  /** The kernel tells of what it has made since Linux 6.2. */
  #asMade(operation: Creation, { refused, link }: Created): Link | undefined {
    if (refused) throw new NetlinkError({ ...refused, operation });
    return link ?? this.link(operation.link.name);
  }

  /**
   * Makes changes in their order, many in one system call. One that is refused does not stop the others.
   * @returns the refused ones by their index, in order
   * @throws NetlinkTimeout, NetlinkError, MalformedMessage when the conversation itself fails: then it is not known
   * which of the changes were made, and the caller must look
   */
  executeAll(operations: readonly Operation[]): OperationFailure[] {
    const failures: OperationFailure[] = [];
    const names = new Map<number, string | undefined>();
    const nameOf = (ifindex: number) => {
      if (!names.has(ifindex)) names.set(ifindex, this.link(ifindex)?.name);
      return names.get(ifindex);
    };
    const fail = (index: number, errno: number, extack: string | undefined) => {
      const operation = operations[index] as Operation;
      failures.push({ index, operation, error: new NetlinkError({ errno, extack, operation, nameOf }) });
    };
    for (let index = 0; index < operations.length; ) {
      const operation = operations[index] as Operation;
      try {
        if (isCreatedAlone(operation)) {
          const answer = createLink(this.#connection, operation);
          if (answer) fail(index, answer.errno, answer.extack);
          index++;
          continue;
        }
        const refused: { index: number; errno: number; extack?: string }[] = [];
        index = sendPacket(this.#connection, operations, index, isCreatedAlone, (entry) => refused.push(entry));
        for (const entry of refused) fail(entry.index, entry.errno, entry.extack);
      } catch (error) {
        // What cannot even be said to the kernel counts as refused by it.
        if (!(error instanceof RangeError)) throw error;
        fail(index++, EINVAL, error.message);
      }
    }
    return failures;
  }

  /**
   * Removes up to {@link MAX_LINKS_AT_ONCE} devices together, in the background. Resolves when the kernel is done with all of
   * them, with those that are still there; they are unreachable long before, as soon as the kernel announces it.
   */
  async deleteLinks(links: readonly { index: number; name?: string }[]): Promise<LinkFailure[]> {
    const socket = this.#spare.pop() ?? this.#connection.another();
    let usable = false;
    try {
      const failures = await deleteLinks(socket, links, this.#connection.timeoutMs);
      usable = !this.#closed;
      return failures;
    } finally {
      if (usable) this.#spare.push(socket);
      else socket.close();
    }
  }

  /** See {@link Connection.followPort}. */
  followPort(follower: PortFollower): () => void {
    return this.#connection.followPort(follower);
  }

  /** Closes the sockets, those of a removal that is under way when it ends; a second call does nothing. */
  close(): void {
    this.#closed = true;
    this.#connection.close();
    for (const socket of this.#spare.splice(0)) socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
