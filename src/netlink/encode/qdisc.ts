/**
 * Queueing disciplines and filters as netlink messages (struct tcmsg, linux/pkt_sched.h, linux/pkt_cls.h).
 */
import {
  AF_UNSPEC,
  ETH_P_ALL,
  MATCH_ALL,
  TC_ACT_STOLEN,
  TC_H,
  TC_LINKLAYER_ETHERNET,
  TCA,
  TCA_ACT,
  TCA_BPF,
  TCA_BPF_FLAG_ACT_DIRECT,
  TCA_CLS_FLAGS_SKIP_HW,
  TCA_EGRESS_REDIR,
  TCA_MIRRED_PARMS,
  TCA_TBF,
} from "../constants.ts";
import type { MessageWriter } from "../transport/writer.ts";
import type { ProgramFilter, QdiscSpec, RedirectFilter, TokenBucket } from "../types.ts";

const U32_MAX = 0xffff_ffff;
/** Handle of the one filter of its priority. */
const FIRST = 1;

/** struct tcmsg. */
export function tcmsg(
  w: MessageWriter,
  t: { ifindex?: number; handle?: number; parent?: number; info?: number },
): void {
  w.u8(AF_UNSPEC);
  w.u8(0);
  w.u16(0);
  w.u32(t.ifindex ?? 0);
  w.u32(t.handle ?? 0);
  w.u32(t.parent ?? 0);
  w.u32(t.info ?? 0);
}

/** The body of a message about a queueing discipline. */
export function qdisc(w: MessageWriter, q: QdiscSpec, deleting: boolean): void {
  const { ifindex, kind } = q;
  if (kind !== "tbf") tcmsg(w, { ifindex, handle: TC_H.INGRESS_HANDLE, parent: TC_H.INGRESS });
  else tcmsg(w, { ifindex, handle: q.handle, parent: TC_H.ROOT });
  w.attributeString(TCA.KIND, kind);
  if (kind === "tbf" && !deleting) w.nest(TCA.OPTIONS, () => bucket(w, q.bucket));
}

/** The burst is said in bytes, from which the kernel works out the time with the precision of its own rates. */
function bucket(w: MessageWriter, { rate, burst, limit }: TokenBucket): void {
  const parms = Buffer.alloc(36);
  parms[1] = TC_LINKLAYER_ETHERNET;
  parms.writeUInt32LE(Math.min(rate, U32_MAX), 8);
  parms.writeUInt32LE(limit, 24);
  w.attribute(TCA_TBF.PARMS, parms);
  if (rate > U32_MAX) {
    const rate64 = Buffer.alloc(8);
    rate64.writeBigUInt64LE(BigInt(rate));
    w.attribute(TCA_TBF.RATE64, rate64);
  }
  w.attributeU32(TCA_TBF.BURST, burst);
}

/** The body of a message about a filter. */
export function filter(w: MessageWriter, f: RedirectFilter | ProgramFilter, deleting: boolean): void {
  // The protocol is in network order.
  const info = (f.priority << 16) | (ETH_P_ALL << 8);
  const sends = "program" in f && f.side === "sends";
  const parent = sends ? TC_H.EGRESS_FILTERS : TC_H.INGRESS_FILTERS;
  tcmsg(w, { ifindex: f.ifindex, handle: FIRST, parent, info });
  w.attributeString(TCA.KIND, "bpf");
  if (deleting) return;
  if ("program" in f) programOptions(w, f);
  else redirectOptions(w, f);
}

function programOptions(w: MessageWriter, { program: { fd, name } }: ProgramFilter): void {
  w.nest(TCA.OPTIONS, () => {
    w.attributeU32(TCA_BPF.FD, fd);
    w.attributeString(TCA_BPF.NAME, name);
    w.attributeU32(TCA_BPF.FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
    w.attributeU32(TCA_BPF.FLAGS_GEN, TCA_CLS_FLAGS_SKIP_HW);
  });
}

function redirectOptions(w: MessageWriter, f: RedirectFilter): void {
  w.nest(TCA.OPTIONS, () => {
    w.attribute(TCA_BPF.OPS_LEN, Uint8Array.of(1, 0));
    w.attribute(TCA_BPF.OPS, MATCH_ALL);
    w.nest(TCA_BPF.ACT, () =>
      w.nest(1, () => {
        w.attributeString(TCA_ACT.KIND, "mirred");
        w.nest(TCA_ACT.OPTIONS, () => {
          const parms = Buffer.alloc(28);
          parms.writeInt32LE(TC_ACT_STOLEN, 8);
          parms.writeInt32LE(TCA_EGRESS_REDIR, 20);
          parms.writeUInt32LE(f.redirectsTo, 24);
          w.attribute(TCA_MIRRED_PARMS, parms);
        });
      }),
    );
  });
}
