/**
 * Whether the kernel has IPsec policies (linux/xfrm.h). Where it has, packets of the tunnel may have to be encrypted, or to have been: only the ordinary path
 * sees to that.
 */
import { constants } from "node:os";
import { KernelSocket, SysError, withNetns } from "../../sys/index.ts";

const NETLINK_XFRM = 6;
const XFRM_MSG_GETPOLICY = 21;
/** NLM_F_REQUEST and NLM_F_DUMP. */
const DUMP = 0x301;
const HEADER = 16;
/** struct xfrm_userpolicy_id, of which a list needs nothing. */
const QUESTION = 64;
const NLMSG = { ERROR: 2, DONE: 3 } as const;
const ROOM = 16 * 1024;

/** @param netns descriptor or path of the namespace; the thread's own by default @throws SysError when it cannot be asked */
export function hasXfrmPolicies(netns: number | string | undefined): boolean {
  const open = (): KernelSocket => KernelSocket.open(NETLINK_XFRM);
  let socket: KernelSocket;
  try {
    socket = netns === undefined ? open() : withNetns(netns, open);
  } catch (error) {
    // A kernel without IPsec.
    if (error instanceof SysError && error.errno === constants.errno.EPROTONOSUPPORT) return false;
    throw error;
  }
  try {
    const question = Buffer.alloc(HEADER + QUESTION);
    question.writeUInt32LE(question.length, 0);
    question.writeUInt16LE(XFRM_MSG_GETPOLICY, 4);
    question.writeUInt16LE(DUMP, 6);
    socket.send(question, question.length);
    // The kernel has written the answer before sending returns.
    const answer = Buffer.alloc(ROOM);
    const got = socket.receive(answer, false);
    if (typeof got === "number") throw new SysError(got, "recvfrom", "asking for IPsec policies");
    const type = answer.readUInt16LE(4);
    const errno = type === NLMSG.ERROR ? -answer.readInt32LE(HEADER) : 0;
    if (errno === constants.errno.EINVAL || errno === constants.errno.EOPNOTSUPP) return false;
    if (errno !== 0) throw new SysError(errno, "recvfrom", "asking for IPsec policies");
    return type !== NLMSG.DONE;
  } finally {
    socket.close();
  }
}
