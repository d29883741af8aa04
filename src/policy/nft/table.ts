/**
 * Putting a model's rules into the kernel and changing them there. What the kernel refuses as a change is followed by the table whole: something
 * has changed what the change was about. When this is refused as well, a table takes its place that closes the pods with policies, which
 * says so: never open, and one's probes still pass.
 */
import {
  ElementSocket,
  ElementsRefused,
  NftError,
  recordTransactions,
  type RunTool,
  toolRunner,
} from "../../dataplane/nft/index.ts";
import { FIXED_MAPS, type ProfileChain, type Ruleset, type RulesetChange } from "../compile/ruleset.ts";
import { isolatedIn } from "../compile/profile.ts";
import { rawChanges } from "./elements.ts";
import { POLICY_TABLE, type RenderOptions, renderChange, renderTable } from "./render.ts";

/** How rules came into the kernel: not at all, since nothing differs; as elements, as a transaction of nft's, or whole. */
export type AppliedAs = "nothing" | "elements" | "change" | "whole";

export interface PolicyTableOptions extends RenderOptions {
  /** Network namespace, as path or descriptor; the process's own when absent. */
  netns?: number | string | undefined;
  /** Runs nft; in the namespace by default. */
  run?: RunTool;
  /** A change was refused, and the table is put in place whole. */
  onRefused?: (error: NftError | ElementsRefused) => void;
}

/** The table of one network namespace. Its methods are called one after the other, each when the one before has ended. */
export class PolicyTable implements Disposable {
  readonly #options: PolicyTableOptions;
  readonly #run: RunTool;
  #socket: ElementSocket | undefined;
  /** Generations of our transactions that {@link made} was not asked about yet. */
  readonly #generations = new Set<number>();

  constructor(options: PolicyTableOptions = {}) {
    this.#options = options;
    this.#run = options.run ?? toolRunner({ netns: options.netns });
  }

  /**
   * Puts the rules in place, whatever is there.
   * @throws NftError when the kernel refuses them. Pods with policies are closed then, unless it refuses this as well.
   */
  async put(ruleset: Pick<Ruleset, "maps" | "chains">): Promise<void> {
    try {
      await this.#nft(renderTable(ruleset, this.#options));
    } catch (error) {
      if (error instanceof NftError && error.reason === "refused") {
        await this.#nft(renderTable(closed(ruleset), this.#options));
      }
      throw error;
    }
  }

  /** Makes a change of the rules that are in place. @param ruleset what they are with it. @throws NftError, SysError */
  async apply(ruleset: Ruleset, change: RulesetChange): Promise<AppliedAs> {
    try {
      const raw = rawChanges(change);
      if (raw?.length === 0) return "nothing";
      if (raw) {
        const generation = this.#elements().changeRaw(raw);
        if (generation !== undefined) this.#generations.add(generation);
        return "elements";
      }
      await this.#nft(renderChange(ruleset, change, this.#options));
      return change.whole ? "whole" : "change";
    } catch (error) {
      if (!(error instanceof ElementsRefused) && !(error instanceof NftError && error.reason === "refused"))
        throw error;
      this.#options.onRefused?.(error);
      await this.put(ruleset);
      return "whole";
    }
  }

  /** Takes the table away, if there is one: no policy selects a pod here any more. @throws NftError */
  async remove(): Promise<void> {
    await this.#nft(`add table inet ${POLICY_TABLE}\ndelete table inet ${POLICY_TABLE}\n`);
  }

  /**
   * Whether a transaction that touched the table was one of ours; asked about each once, and not while a method is under way. Of several that were
   * made while nft ran, the first is taken for ours.
   */
  made(generation: number): boolean {
    return this.#generations.delete(generation);
  }

  async #nft(text: string): Promise<void> {
    const seen = await recordTransactions(this.#options.netns, async () => {
      await this.#run("nft", ["-f", "-"], text);
    });
    const own = seen?.find(({ tables }) => tables.has(`inet ${POLICY_TABLE}`));
    if (own) this.#generations.add(own.generation);
  }

  #elements(): ElementSocket {
    this.#socket ??= ElementSocket.open(this.#options.netns);
    return this.#socket;
  }

  [Symbol.dispose](): void {
    this.#socket?.close();
    this.#socket = undefined;
  }
}

/** Rules of one rule a direction: nobody reaches a pod that has policies, and it reaches nobody but its node. */
function closed({ maps, chains }: Pick<Ruleset, "maps" | "chains">): Pick<Ruleset, "maps" | "chains"> {
  const pods = (place: "ingress" | "egress", name: string): [string, string][] =>
    [...(maps.get(name)?.elements ?? [])].flatMap(([ip, profile]) =>
      (chains.get(profile as string) as ProfileChain).enforces ? [[ip, `isolated_${place}`]] : [],
    );
  return {
    maps: new Map(
      FIXED_MAPS.map(([name, spec]) => {
        const place = spec.kind === "pods" && spec.place !== "node" ? spec.place : undefined;
        return [name, { spec, elements: new Map(place ? pods(place, name) : []) }];
      }),
    ),
    chains: new Map(
      (["ingress", "egress"] as const).map((direction) => [
        `isolated_${direction}`,
        { kind: "outcome", outcome: isolatedIn(direction) },
      ]),
    ),
  };
}
