/**
 * Notifications of what changes in a namespace, whoever changes it; how they are read, and what an overrun means, is in
 * src/sys/sockets/multicast.ts.
 *
 * The kernel does not announce everything one by one: IPv4 routes and neighbours that go because their device goes
 * or is set down are only told by the device's event. Routes of the local table are passed over unread: the kernel keeps them
 * by itself, and announces several for every pod.
 */
import { MulticastReader } from "../../sys/index.ts";
import { GROUP, Protocol, RTM } from "../constants.ts";
import { decodeEvent, type NetlinkMessage, splitMessages } from "../decode/message.ts";
import { MalformedMessage } from "../errors.ts";
import type { Rtnl } from "../rtnl.ts";
import type { NetlinkEvent } from "../types.ts";
import { type OwnEntries, withoutOwn } from "./own-entries.ts";

/** What can be watched; neighbours include FDB entries. */
export type MonitorKind = "link" | "address" | "route" | "neighbour" | "rule" | "netconf" | "tc";

const GROUPS: Readonly<Record<MonitorKind, number>> = {
  link: GROUP.LINK,
  address: GROUP.IPV4_IFADDR | GROUP.IPV6_IFADDR,
  route: GROUP.IPV4_ROUTE | GROUP.IPV6_ROUTE,
  neighbour: GROUP.NEIGH,
  rule: GROUP.IPV4_RULE | GROUP.IPV6_RULE,
  netconf: GROUP.IPV4_NETCONF | GROUP.IPV6_NETCONF,
  tc: GROUP.TC,
};

/** The multicast groups of what is to be watched, as bits. */
export const groupsOf = (kinds: readonly MonitorKind[]): number => kinds.reduce((bits, kind) => bits | GROUPS[kind], 0);

/** The events that a datagram tells of, in order. @throws MalformedMessage */
export const eventsOf = (datagram: Buffer): NetlinkEvent[] =>
  splitMessages(datagram).flatMap((message) => decodeEvent(message) ?? []);

/** rtm_table of the local table, and where it stands in struct rtmsg. */
const [LOCAL_TABLE, TABLE_AT] = [255, 4];

/** Whether a message is of the local table: it is told before it is decoded, which is most of the work. */
const isLocalRoute = ({ type, data }: NetlinkMessage): boolean =>
  (type === RTM.NEWROUTE || type === RTM.DELROUTE) && data[TABLE_AT] === LOCAL_TABLE;

/** Who hears what a monitor hears. */
export interface MonitorListener {
  /** Called with what happened, in order, never empty. */
  onEvents: (events: NetlinkEvent[]) => void;
  /** Events were lost, for the given reason: whoever keeps a picture of the kernel must dump it again. */
  onResync: (reason: string) => void;
}

/** What somebody who hears of a namespace can do about it. */
export type Listening = Pick<Monitor, "passOver" | "close">;

export interface MonitorOptions extends MonitorListener {
  /** Namespace (path or file descriptor) to watch; the process's own by default. */
  netns?: number | string;
  kinds: readonly MonitorKind[];
  /** Room for notifications that were not read yet; 8 MiB by default. */
  receiveBufferBytes?: number;
}

/**
 * Watches a namespace from the moment of {@link Monitor.open} on. An exception out of a handler is thrown again outside
 * of the reader (an uncaught exception of the process), which goes on.
 */
export class Monitor {
  readonly #reader: MulticastReader;
  /** What is not told, by who asked for it. */
  readonly #own = new Map<object, OwnEntries>();

  private constructor(reader: MulticastReader) {
    this.#reader = reader;
  }

  /** Starts to watch. @throws SysError when the namespace cannot be entered or the socket not be opened */
  static open({ netns, kinds, receiveBufferBytes, onEvents, onResync }: MonitorOptions): Monitor {
    const groups = { protocol: Protocol.ROUTE, groups: groupsOf(kinds), netns, receiveBufferBytes };
    let events: NetlinkEvent[] = [];
    const taken = (): NetlinkEvent[] => {
      const before = events;
      events = [];
      return before;
    };
    return new Monitor(
      MulticastReader.open("a network namespace", groups, {
        onDatagram(datagram) {
          try {
            for (const message of splitMessages(datagram)) {
              const event = isLocalRoute(message) ? undefined : decodeEvent(message);
              if (event) events.push(event);
            }
            return undefined;
          } catch (error) {
            if (error instanceof MalformedMessage) return error.message;
            throw error;
          }
        },
        onDrained() {
          if (events.length > 0) onEvents(taken());
        },
        onLost(reason) {
          taken();
          onResync(reason);
        },
      }),
    );
  }

  /**
   * Does not tell any more of neighbours on a device, and of routes to whole prefixes over it, that a conversation makes itself: it has the kernel's
   * answer to each, and of thousands every one would be read and decoded once more. That one goes, whoever takes it away, is told as ever.
   * @returns what ends that; the end of the conversation does so by itself
   * @throws SysError when the kernel takes no filter
   */
  passOver(rtnl: Pick<Rtnl, "followPort">, ifindex: number): () => void {
    const asked = {};
    const take = (port: number | undefined): void => {
      if (port === undefined) this.#own.delete(asked);
      else this.#own.set(asked, { port, ifindex });
      this.#reader.filter(withoutOwn([...this.#own.values()]));
    };
    const leave = rtnl.followPort(take);
    return () => {
      leave();
      if (this.#own.has(asked)) take(undefined);
    };
  }

  /** Stops watching; no handler is called after this. Resolves when the reader has left and the socket is closed. */
  close(): Promise<void> {
    return this.#reader.close();
  }
}
