/** A routed data path whose routes to a peer take what the way there takes, where somebody has measured that. */
import type { PathMtu, Peer } from "../peers/index.ts";
import type { DataPath, MakeDataPath } from "./data-path.ts";

/** Who measures. */
export interface MeasuredMtus {
  /** Of a node's way, where that takes less than the device. */
  of(node: string): PathMtu | undefined;
  /** Tells of a node whose way takes something else, until what is returned is called. */
  follow(onChange: (node: string) => void): () => void;
}

/** Makes one. */
export const narrowedPath =
  (make: MakeDataPath, mtus: MeasuredMtus): MakeDataPath =>
  (local, listener) => {
    const path = make(local, listener);
    const peers = new Map<string, Peer>();
    const narrowed = (peer: Peer): Peer => {
      const pathMtu = mtus.of(peer.node);
      return pathMtu ? { ...peer, pathMtu } : peer;
    };
    const unfollow = mtus.follow((node) => {
      const peer = peers.get(node);
      if (peer) path.changePeers([[node, narrowed(peer)]]);
    });
    return {
      get error() {
        return path.error;
      },
      get tried() {
        return path.tried;
      },
      start: () => path.start(),
      status: () => path.status(),
      stop: () => {
        unfollow();
        return path.stop();
      },
      setLocal: (next) => path.setLocal(next),
      setPeers: (all) => {
        peers.clear();
        for (const peer of all) peers.set(peer.node, peer);
        path.setPeers(Array.from(peers.values(), narrowed));
      },
      changePeers: (changes) => {
        const list = [...changes];
        for (const [node, peer] of list)
          if (peer) peers.set(node, peer);
          else peers.delete(node);
        path.changePeers(list.map(([node, peer]) => [node, peer && narrowed(peer)]));
      },
    } satisfies DataPath;
  };

/** What of it is less than the MTU of a network's devices: a route that says more would count for more than those. */
export function narrower(mtu: PathMtu | undefined, full: number): PathMtu | undefined {
  const less = Object.entries(mtu ?? {}).filter(([, bytes]) => bytes < full);
  return less.length > 0 ? (Object.fromEntries(less) as PathMtu) : undefined;
}
