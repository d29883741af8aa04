/** A routed data path with a fast path beside it: both are told the same, and how the network stands is said by the ordinary one. */
import type { FastPath } from "../dataplane/fast-path/index.ts";
import type { DataPath, MakeDataPath } from "./data-path.ts";

/** Makes one. @param fast lives longer than the data path: whoever made it stops it */
export const fastRoutedPath =
  (ordinary: MakeDataPath, fast: Pick<FastPath, "setLocal" | "setPeers" | "changePeers">): MakeDataPath =>
  (local, listener) => {
    const path = ordinary(local, listener);
    fast.setLocal(local);
    return {
      get error() {
        return path.error;
      },
      get tried() {
        return path.tried;
      },
      start: () => path.start(),
      status: () => path.status(),
      stop: () => path.stop(),
      setLocal: (next) => {
        path.setLocal(next);
        fast.setLocal(next);
      },
      setPeers: (peers) => {
        const all = [...peers];
        path.setPeers(all);
        fast.setPeers(all);
      },
      changePeers: (changes) => {
        const all = [...changes];
        path.changePeers(all);
        fast.changePeers(all);
      },
    } satisfies DataPath;
  };
