/**
 * Keeping back, in the kernel, the news of what this process does to elements itself: a pod that comes is a transaction, and whoever watches the packet
 * filter would be woken by it, read and decode it, and find that it was ours. The kernel writes into all news of a transaction from which port
 * it was asked for (nlmsg_pid: nft_commit_notify sends what belongs to one port in one datagram), which is one socket's alone in its network
 * namespace for as long as that is open.
 */
import { LOAD_WORD, type FilterInstruction, netnsIdentity, numberInFilter } from "../../../sys/index.ts";

/** Whoever hears of transactions: a socket, or its reader. */
export interface Hearing {
  filter: (instructions: readonly FilterInstruction[]) => void;
}

interface Place {
  ports: Set<number>;
  hearing: Set<Hearing>;
}

/** By network namespace: a port is somebody else's in another one. */
const places = new Map<string, Place>();

/** The process's own: a thread belongs to one, and the main thread is elsewhere only within a function. */
const OWN = "/proc/self/ns/net";

/** Where the port of a message stands in its header (struct nlmsghdr). */
const PORT_AT = 12;
const [IF_EQUAL, RETURN, EVERYTHING] = [0x15, 0x06, 0xffff_ffff];

/** Lets everything through but what was asked for from these ports. */
const without = (ports: ReadonlySet<number>): FilterInstruction[] => [
  [LOAD_WORD, 0, 0, PORT_AT],
  ...[...ports].flatMap((port): FilterInstruction[] => [
    [IF_EQUAL, 0, 1, numberInFilter(port)],
    [RETURN, 0, 0, 0],
  ]),
  [RETURN, 0, 0, EVERYTHING],
];

function enter(
  netns: number | string | undefined,
  change: (place: Place) => void,
  leave: (place: Place) => void,
): Disposable {
  const { dev, ino } = netnsIdentity(netns ?? OWN);
  const key = `${dev} ${ino}`;
  const place = places.get(key) ?? { ports: new Set(), hearing: new Set() };
  change(place);
  places.set(key, place);
  return {
    [Symbol.dispose]() {
      leave(place);
      if (place.ports.size === 0 && place.hearing.size === 0) places.delete(key);
    },
  };
}

const tell = ({ ports, hearing }: Place): void => {
  for (const one of hearing) one.filter(without(ports));
};

/**
 * Transactions from this port of a namespace are not told to those who hear of them in this process, until it is disposed of, which is before the port is given up.
 * @throws SysError when the namespace is not there, or the kernel takes no filter
 */
export function keepBack(netns: number | string | undefined, port: number): Disposable {
  return enter(
    netns,
    (place) => {
      place.ports.add(port);
      tell(place);
    },
    (place) => {
      place.ports.delete(port);
      tell(place);
    },
  );
}

/** Has somebody hear of all transactions but those, until it is disposed of. @throws SysError as {@link keepBack} */
export function hearOthers(netns: number | string | undefined, who: Hearing): Disposable {
  return enter(
    netns,
    ({ ports, hearing }) => {
      if (ports.size > 0) who.filter(without(ports));
      hearing.add(who);
    },
    ({ hearing }) => void hearing.delete(who),
  );
}
