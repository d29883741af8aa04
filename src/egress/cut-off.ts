/**
 * Whether this node is cut off: who would take over from it is not heard, and the API server is silent, or says that another one has the addresses. It
 * lets go of them then, since that one may have taken them. Where it is heard it hears this node as well, and takes nothing.
 */
import { type AddressHolder, EGRESS_GATEWAYS } from "../crd/index.ts";
import { getObject, type KubeClient } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import { within } from "../reconcile/index.ts";
import { readGatewayObject } from "./gateway-object.ts";

/** How long the API server may take before it counts as silent, in milliseconds. */
const SILENT_MS = 1_000;
/** How soon an API server that answers is asked again, in milliseconds. */
const ASKED_MS = 2_000;

/** Addresses of a gateway that this node has, and whose next node is not heard. */
export interface AtRisk {
  gateway: string;
  addresses: readonly string[];
}

interface CutOffOptions {
  client: KubeClient;
  log: Logger;
  nodeName: string;
  atRisk: () => readonly AtRisk[];
  /** It has let go of others. */
  onChange: () => void;
}

/** See the header. */
export class CutOff {
  readonly #options: CutOffOptions;
  #letGo: ReadonlySet<string> = new Set();
  #asking = false;
  /** Not before this, on the clock of `performance`. */
  #askAgainAt = 0;
  #stopped = false;

  constructor(options: CutOffOptions) {
    this.#options = options;
  }

  /** Addresses that this node has let go of although the status says that it has them. */
  get letGo(): ReadonlySet<string> {
    return this.#letGo;
  }

  /** Asks the API server where that is due. */
  ask(): void {
    const mine = this.#options.atRisk();
    if (mine.length === 0 && this.#letGo.size === 0) return;
    if (this.#asking || this.#stopped || performance.now() < this.#askAgainAt) return;
    this.#asking = true;
    void this.#ask(mine).finally(() => (this.#asking = false));
  }

  stop(): void {
    this.#stopped = true;
  }

  async #ask(mine: readonly AtRisk[]): Promise<void> {
    const { client, log, nodeName, onChange } = this.#options;
    const now = new Set<string>();
    let silent = false;
    for (const { gateway, addresses } of mine) {
      let holders: readonly AddressHolder[] | undefined;
      try {
        const late = (): Error => new Error(`no answer within ${SILENT_MS} ms`);
        const object = await within(getObject(client, EGRESS_GATEWAYS, gateway), SILENT_MS, late);
        holders = object === undefined ? [] : readGatewayObject(object).holders;
      } catch (error) {
        silent = true;
        log.debug("the API server was asked who has an egress address, and did not say", { error });
      }
      for (const address of addresses)
        if (!holders?.some((one) => one.address === address && one.node === nodeName)) now.add(address);
    }
    this.#askAgainAt = performance.now() + (silent ? 0 : ASKED_MS);
    const before = this.#letGo;
    this.#letGo = now;
    if (now.size === before.size && [...before].every((one) => now.has(one))) return;
    const news = [...now].filter((one) => !before.has(one));
    if (news.length > 0)
      log.warn(
        "let go of egress addresses: who would take over from this node is not heard, nor does the API server say that it has them",
        { addresses: news },
      );
    onChange();
  }
}
