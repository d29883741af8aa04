/**
 * The kernel parameter without which there is no fast path: connection tracking does not see the packets that pass it by, so it must not take those that
 * it does see (the end of a connection, for one) for wrong ones, which kube-proxy's rules drop (nf_conntrack_tcp_be_liberal). It is set, and set again when
 * somebody changes it; where somebody changes it again and again, it is theirs, and the fast path is off.
 */
import { readSysctl, withNetns, writeSysctl } from "../../sys/index.ts";

const LIBERAL = "net.netfilter.nf_conntrack_tcp_be_liberal";
/** Who changes it so often in so long, in milliseconds, holds it. */
const TIMES = 3;
const WITHIN = 600_000;

/** How the parameter stands. */
export interface LiberalState {
  /** Why there can be no fast path; absent where there can. */
  why?: string;
  /** It was changed by somebody and is right again. */
  repaired: boolean;
}

/** Keeps the parameter. */
export class Liberal {
  readonly #netns: number | string | undefined;
  #set = false;
  /** When it was found changed, on the clock of `performance`. */
  #changes: number[] = [];

  constructor(netns?: number | string) {
    this.#netns = netns;
  }

  /** Looks at it, and sets it where that is due. @throws SysError when it cannot be read or set */
  keep(now = performance.now()): LiberalState {
    return this.#netns === undefined ? this.#keep(now) : withNetns(this.#netns, () => this.#keep(now));
  }

  #keep(now: number): LiberalState {
    const value = readSysctl(LIBERAL);
    if (value === undefined)
      return { why: "the kernel does not follow connections here: nf_conntrack is not loaded", repaired: false };
    this.#changes = this.#changes.filter((then) => now - then < WITHIN);
    if (value !== "0") {
      this.#set = true;
      return this.#held({ repaired: false });
    }
    if (this.#set) {
      this.#changes.push(now);
      this.#set = false;
    }
    const state = this.#held({ repaired: this.#changes.length > 0 });
    if (state.why !== undefined) return state;
    writeSysctl(LIBERAL, 1);
    this.#set = true;
    return state;
  }

  #held(state: LiberalState): LiberalState {
    if (this.#changes.length < TIMES) return state;
    return { why: `somebody sets ${LIBERAL} to 0 again and again; the fast path needs 1`, repaired: false };
  }
}
