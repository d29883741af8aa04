/** Whether rules are others than before, at the cost of those networks alone whose rules are new. */
import { createHash } from "node:crypto";
import { type NetworkRules, renderRuleset } from "./rules/ruleset.ts";

/** Digests of networks' rules. Of the same object they are the same until it is {@link forget forgotten}. */
export class Digests {
  readonly #known = new WeakMap<NetworkRules, string>();

  /** All together. @throws RangeError for values that are none */
  of(networks: readonly NetworkRules[]): string {
    return networks.map((network) => this.#of(network)).join(" ");
  }

  /** Something of it has changed. */
  forget(network: NetworkRules): void {
    this.#known.delete(network);
  }

  #of(network: NetworkRules): string {
    const digest =
      this.#known.get(network) ??
      createHash("sha256")
        .update(renderRuleset([network]))
        .digest("base64");
    this.#known.set(network, digest);
    return digest;
  }
}
