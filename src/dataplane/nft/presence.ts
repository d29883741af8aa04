/**
 * Whether a table or a chain is there, asked of the kernel itself: nft takes a process and tens of milliseconds to say that there is none, which is
 * what most hosts have to say of most of them.
 */
import { constants } from "node:os";
import {
  NETLINK_HEADER,
  NETLINK_NETFILTER,
  NF_ANSWER,
  NF_FLAG,
  NF_SUBSYSTEM,
  nfAttribute,
  nfMessage,
  nfText,
} from "../../netlink/index.ts";
import { KernelSocket, withNetns } from "../../sys/index.ts";

/** linux/netfilter/nf_tables.h: NFT_MSG_GETTABLE, NFT_MSG_GETCHAIN and the attributes that name what is asked for. */
const GET = { TABLE: (NF_SUBSYSTEM.NFTABLES << 8) | 1, CHAIN: (NF_SUBSYSTEM.NFTABLES << 8) | 4 } as const;
const TABLE_NAME = 1;
const CHAIN = { TABLE: 1, NAME: 3 } as const;
/** linux/netfilter.h */
const FAMILIES = { inet: 1, ip: 2, ip6: 10 } as const;
const DATAGRAM = 4_096;

/** A table, or a chain of it. */
export interface Place {
  family: keyof typeof FAMILIES;
  table: string;
  chain?: string;
}

/**
 * Whether it is there; undefined where the kernel does not say, so that nft has to.
 * @param netns its namespace; that of the calling thread by default
 * @throws SysError when the namespace cannot be entered or no socket be opened
 */
export function isThere({ family, table, chain }: Place, netns?: number | string): boolean | undefined {
  const open = (): KernelSocket => KernelSocket.open(NETLINK_NETFILTER);
  const socket = netns === undefined ? open() : withNetns(netns, open);
  try {
    const body =
      chain === undefined
        ? nfAttribute(TABLE_NAME, nfText(table))
        : Buffer.concat([nfAttribute(CHAIN.TABLE, nfText(table)), nfAttribute(CHAIN.NAME, nfText(chain))]);
    const type = chain === undefined ? GET.TABLE : GET.CHAIN;
    const request = nfMessage(type, NF_FLAG.REQUEST, 1, { family: FAMILIES[family], resource: 0 }, body);
    socket.send(request, request.length);
    const answer = Buffer.allocUnsafe(DATAGRAM);
    const got = socket.receive(answer, false);
    if (typeof got === "number") return undefined;
    if (answer.readUInt16LE(4) !== NF_ANSWER.ERROR) return true;
    return -answer.readInt32LE(NETLINK_HEADER) === constants.errno.ENOENT ? false : undefined;
  } finally {
    socket.close();
  }
}
