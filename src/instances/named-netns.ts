/** Network namespaces by names that outlive this process, which only a launcher can give and take away. */
import type { Logger } from "../log/index.ts";
import { type NetnsMounter, type NetworkNetns, networkNetnsName } from "../dataplane/netns/index.ts";
import type { KeyedMutex } from "../reconcile/index.ts";
import type { InstanceMachine } from "./instance-machine.ts";

/** The namespace of a network, by a name that outlives this process. @throws SysError, NetlinkError, CniError */
export async function heldNetns(
  { ensureNetworkNetns }: Pick<InstanceMachine, "ensureNetworkNetns">,
  network: string,
  keeper: NetnsMounter,
): Promise<NetworkNetns> {
  const netns = ensureNetworkNetns(network);
  try {
    if (!netns.found) await keeper.hold(netns.name, netns.fd);
    return netns;
  } catch (error) {
    netns.close();
    throw error;
  }
}

/** Namespaces that still have a name though nobody needs them. */
export class IdleNetns {
  readonly #networks = new Set<string>();
  readonly #mutex: KeyedMutex;
  readonly #log: Pick<Logger, "warn">;
  readonly #needed: (network: string) => boolean;

  /** @param needed whether the network's namespace is in use again */
  constructor(mutex: KeyedMutex, log: Pick<Logger, "warn">, needed: (network: string) => boolean) {
    this.#mutex = mutex;
    this.#log = log;
    this.#needed = needed;
  }

  add(network: string): void {
    this.#networks.add(network);
  }

  /** Takes the names away; what fails is tried with the next request. */
  async sweep(keeper: NetnsMounter): Promise<void> {
    // As they are now: one that fails comes back into the set.
    const names = [...this.#networks];
    for (const network of names) {
      await this.#mutex.run(network, async () => {
        if (!this.#networks.delete(network) || this.#needed(network)) return;
        try {
          await keeper.release(networkNetnsName(network));
        } catch (error) {
          this.#networks.add(network);
          this.#log.warn("the name of a network's namespace is left", { network, error });
        }
      });
    }
  }
}
