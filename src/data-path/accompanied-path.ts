/** A routed data path with others beside it that are told the same: the fast path, the probes. How the network stands is said by the path itself. */
import type { LocalNetwork, Peer } from "../peers/index.ts";
import type { DataPath, MakeDataPath } from "./data-path.ts";

/** Who is told what the network is made from; it lives longer than the data path: whoever made it stops it. */
export interface Companion {
  /** Resolves when what it does for what it was told so far is done, or cannot be: the path begins after it. */
  ready?(): Promise<void>;
  setLocal(local: LocalNetwork): void;
  setPeers(peers: Iterable<Peer>): void;
  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void;
}

/** Makes one. */
export const accompaniedPath =
  (make: MakeDataPath, companions: readonly Companion[]): MakeDataPath =>
  (local, listener) => {
    const path = make(local, listener);
    for (const one of companions) one.setLocal(local);
    const all = [path, ...companions];
    return {
      get error() {
        return path.error;
      },
      get tried() {
        return path.tried;
      },
      start: async () => {
        for (const one of companions) await one.ready?.();
        await path.start();
      },
      status: () => path.status(),
      stop: () => path.stop(),
      setLocal: (next) => {
        for (const one of all) one.setLocal(next);
      },
      setPeers: (peers) => {
        const list = [...peers];
        for (const one of all) one.setPeers(list);
      },
      changePeers: (changes) => {
        const list = [...changes];
        for (const one of all) one.changePeers(list);
      },
    } satisfies DataPath;
  };
