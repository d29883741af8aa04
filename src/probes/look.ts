/**
 * A look at one peer that has not answered, or of which somebody asks: what a lost packet cannot tell. Small packets on all paths first, then full
 * ones where small ones pass, then how large a packet may be; beside the tunnel a TCP connection where ICMP gets nothing. Nothing is silent
 * that answers one of three.
 */
import { connect } from "node:net";
import type { Path, Target } from "./target.ts";

/** A lost packet is no verdict. */
const TRIES = 3;
/** Small packets by which a path shows whether it loses some, and how many are under way at once: what was lost before may have been an outage. */
const STUDY = 100;
const UNDER_WAY = 4;
/** Where the search for a size that passes begins: what IPv4 hosts must take (RFC 791), and what IPv6 links must carry (RFC 8200). */
const LEAST = { 4: 576, 6: 1280 } as const;
const EXACT = 8;
const KUBELET_PORT = 10_250;

/** How packets are sent: as fast as the node's share allows, and no faster. */
export interface Asking {
  /** Whether a packet of a size is answered; the least size by default. */
  ask: (path: Path, size?: number) => Promise<boolean>;
  /** Whether a host accepts or refuses a TCP connection. */
  tcp: (ip: string) => Promise<boolean>;
  /** Whether the peer's paths may be studied now, which takes packets from all others; to be called back when that is over. */
  study: () => (() => void) | undefined;
  /** Whether hosts of the underlay answer ICMP echo as a rule. */
  echoes: () => boolean;
}

async function any(path: Path, asking: Asking, size?: number): Promise<boolean> {
  for (let n = 0; n < TRIES; n++) if (await asking.ask(path, size)) return true;
  return false;
}

async function lookAtPath(path: Path, asking: Asking): Promise<void> {
  if (!(await any(path, asking))) return path.become("silent");
  if (!(await any(path, asking, path.full))) {
    path.become("narrow");
    // What passed before does still, and no more than that: one packet or two tell.
    const { passes } = path;
    const same = passes !== undefined && (await any(path, asking, passes)) && !(await more(path, passes, asking));
    if (!same) path.passes = await widest(path, asking);
    return;
  }
  // Whatever was lost while it was silent or narrow was not lost by chance.
  if (path.seen !== "lossy" || path.clean) path.become("answers");
}

/** Finds out whether a path loses packets. It ends early where so many are lost in a row that it is an outage, or answered that none are lost any more. */
async function study(path: Path, asking: Asking): Promise<void> {
  let [sent, lost, running] = [0, 0, 0];
  const known = (): boolean => sent >= STUDY || running >= TRIES || (path.seen === "lossy" && path.clean);
  const askOn = async (): Promise<void> => {
    while (!known()) {
      sent++;
      const answered = await asking.ask(path);
      running = answered ? 0 : running + 1;
      if (!answered) lost++;
    }
  };
  await Promise.all(Array.from({ length: UNDER_WAY }, askOn));
  if (running < TRIES) path.studied(lost);
  else if (!(await any(path, asking))) path.become("silent");
}

/** Whether more passes than {@link widest} has found. */
const more = (path: Path, passes: number, asking: Asking): Promise<boolean> => asking.ask(path, passes + EXACT);

/** The largest size that passes, to 8 bytes; undefined where not even the least does. */
async function widest(path: Path, asking: Asking): Promise<number | undefined> {
  let [low, high] = [LEAST[path.family] as number, path.full];
  if (low >= high || !(await any(path, asking, low))) return undefined;
  while (high - low > EXACT) {
    const middle = Math.floor((low + high) / 2);
    if (await any(path, asking, middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** Looks at a peer and leaves what was found with it. */
export async function look(target: Target, asking: Asking): Promise<void> {
  await Promise.all(target.paths.map((path) => lookAtPath(path, asking)));
  const questionable = target.paths.filter((path) => path.questionable);
  const over = questionable.length > 0 ? asking.study() : undefined;
  if (over) await Promise.all(questionable.map((path) => study(path, asking))).finally(over);
  const { beside } = target;
  const answered = beside.rttMs !== undefined;
  if (beside.seen === "silent" && (await asking.tcp(beside.ip))) beside.become("answers");
  target.conclude(beside.seen !== "silent" || answered || asking.echoes());
}

/** Whether a host accepts or refuses a connection to the kubelet's port; either shows that it is there. */
export function answersTcp(host: string, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: KUBELET_PORT });
    const finish = (answered: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answered);
    };
    const timer = setTimeout(() => finish(false), timeoutMs);
    socket.once("connect", () => finish(true));
    socket.once("error", (error: NodeJS.ErrnoException) => finish(error.code === "ECONNREFUSED"));
  });
}
