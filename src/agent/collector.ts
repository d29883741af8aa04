/**
 * Finds what pods left behind. Container runtimes do not ask for it (containerd never calls GC), and a node that
 * lost power ran no DEL, so reservations of sandboxes that are provably gone are freed here, after whatever the
 * host still has of their links. What cannot be proven dead stays: an address kept too long costs one address,
 * an address given twice costs two pods.
 */
import { join } from "node:path";
import { Ipam, provablyDead, type Reservation } from "../ipam/index.ts";
import { detachPod } from "../pod/index.ts";

/** What a round did. */
export interface Collected {
  freed: Reservation[];
  /** Links that could not be removed; their reservations stay for the next round. */
  errors: Error[];
}

/** Where the reservations of a network are. */
export const ipamDir = (dataDir: string, network: string): string => join(dataDir, "ipam", network);

/** One round for one network. @throws Error when the reservations cannot be read. */
export function collectLeftovers(dataDir: string, network: string): Collected {
  const errors: Error[] = [];
  const freed = new Ipam({ dir: ipamDir(dataDir, network) }).collect((reservation) => {
    if (!provablyDead(reservation)) return false;
    const { containerId, ifname } = reservation.owner;
    try {
      // the link first: an address must not be given again while the host still routes it to the old pod
      detachPod({ containerId, ifname });
      return true;
    } catch (error) {
      errors.push(
        new Error(`what is left of container ${containerId} (${ifname}) cannot be removed`, { cause: error }),
      );
      return false;
    }
  });
  return { freed, errors };
}
