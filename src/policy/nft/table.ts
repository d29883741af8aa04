/**
 * Putting a model's rules into the kernel and changing them there. What the kernel refuses as a change is followed by the table whole: something
 * has changed what the change was about. When this is refused as well, a table takes its place that closes the pods with policies, which
 * says so: never open, and one's probes still pass.
 */
import {
  ElementSocket,
  ElementsRefused,
  isThere,
  NftError,
  type RunTool,
  toolRunner,
  WatchedTable,
} from "../../dataplane/nft/index.ts";
import {
  FIXED_MAPS,
  HELD_CHAIN,
  type ProfileChain,
  type Ruleset,
  type RulesetChange,
  type Value,
} from "../compile/ruleset.ts";
import { isolatedIn } from "../compile/profile.ts";
import { rawSteps } from "./elements.ts";
import { POLICY_TABLE, PROTOCOLS, renderAdditions, type RenderOptions, renderChange, renderTable } from "./render.ts";

/** How rules came into the kernel: not at all, since nothing differs; as elements, as a transaction of nft's, or whole. */
export type AppliedAs = "nothing" | "elements" | "change" | "whole";

export interface PolicyTableOptions extends RenderOptions {
  /** Network namespace, as path or descriptor; the process's own when absent. */
  netns?: number | string | undefined;
  /** Runs nft; in the namespace by default. */
  run?: RunTool;
  /** The kernel, or nft, cannot do all that rules are to do; what that means. */
  onLimited?: (what: string) => void;
  /** A change was refused, and the table is put in place whole. */
  onRefused?: (error: NftError | ElementsRefused) => void;
  /** Queue of NFQUEUE to which answers of DNS servers go. */
  answerQueue?: number;
}

/** Between others' queues and ours there is nothing but convention. */
export const ANSWER_QUEUE = 83;

/** The table of one network namespace. Its methods are called one after the other, each when the one before has ended. */
export class PolicyTable implements Disposable {
  readonly #options: PolicyTableOptions;
  #render: RenderOptions;
  readonly #run: RunTool;
  #socket: ElementSocket | undefined;
  /** Who touched it: its owner has it hear of transactions, and asks while no method is under way. */
  readonly watched: WatchedTable;
  #unheld: string | undefined;

  constructor(options: PolicyTableOptions = {}) {
    this.#options = options;
    this.#render = options;
    this.#run = options.run ?? toolRunner({ netns: options.netns });
    this.watched = new WatchedTable(options.netns, `inet ${POLICY_TABLE}`);
  }

  /**
   * Puts the rules in place, whatever is there.
   * @throws NftError when the kernel refuses them. Pods with policies are closed then, unless it refuses this as well.
   */
  async put(ruleset: Pick<Ruleset, "maps" | "chains">): Promise<void> {
    try {
      await this.#putWhole(ruleset);
      this.#hold(ruleset.chains.has(HELD_CHAIN));
    } catch (error) {
      if (error instanceof NftError && error.reason === "refused") {
        await this.#nft(renderTable(closed(ruleset), this.#render));
      }
      throw error;
    }
  }

  /**
   * Makes a change of the rules that are in place: what is new of them first, to which nothing leads, and the rest in one transaction.
   * @param ruleset what they are with it. @throws NftError, SysError
   */
  async apply(ruleset: Ruleset, change: RulesetChange): Promise<AppliedAs> {
    try {
      const steps = rawSteps(change);
      if (!steps) {
        await this.#nft(renderChange(ruleset, change, this.#render));
        this.#hold(change.whole ? ruleset.chains.has(HELD_CHAIN) : bringsHeld(change));
        return change.whole ? "whole" : "change";
      }
      const additions = renderAdditions(change, this.#render);
      if (additions !== "") await this.#nft(additions);
      this.#elements().changeRaw(steps);
      this.#hold(bringsHeld(change));
      return change.elementsOnly ? (steps.length === 0 ? "nothing" : "elements") : "change";
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
    const { run, netns } = this.#options;
    // Who runs nft otherwise may do so in another kernel.
    if (run === undefined && isThere({ family: "inet", table: POLICY_TABLE }, netns) === false) return;
    await this.#nft(`add table inet ${POLICY_TABLE}\ndelete table inet ${POLICY_TABLE}\n`);
  }

  /** Why answers of DNS servers cannot be held, so that rules with domain names allow nothing; undefined where they can. */
  get unheld(): string | undefined {
    return this.#unheld;
  }

  /** Has answers held, where there is a chain for it that is new. @throws SysError */
  #hold(isNew: boolean): void {
    if (!isNew) return;
    const { answerQueue: queue = ANSWER_QUEUE } = this.#options;
    for (const by of ["queue", "target"] as const)
      try {
        this.#elements().changeRaw([{ table: POLICY_TABLE, chain: HELD_CHAIN, queue, by }]);
        this.#unheld = undefined;
        return;
      } catch (error) {
        if (!(error instanceof ElementsRefused)) throw error;
        this.#unheld = `the kernel of this node hands no packets to programs (nft_queue, or xt_NFQUEUE and nft_compat): ${error.message}`;
      }
  }

  /** @throws NftError when the kernel refuses them by whichever selector */
  async #putWhole(ruleset: Pick<Ruleset, "maps" | "chains">): Promise<void> {
    const before = this.#render;
    try {
      await this.#nft(renderTable(ruleset, before));
    } catch (error) {
      const [, other] = PROTOCOLS;
      if (before.protocol === other || !isUnsupported(error)) throw error;
      this.#render = { ...before, protocol: other };
      try {
        await this.#nft(renderTable(ruleset, this.#render));
      } catch (again) {
        this.#render = before;
        throw again;
      }
      this.#options.onLimited?.(
        "the kernel does not support rules about ports as this nft writes them: packets that connection tracking does not follow have no port for policies",
      );
    }
  }

  async #nft(text: string): Promise<void> {
    await this.watched.making(async () => {
      await this.#run("nft", ["-f", "-"], text);
    });
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

const isUnsupported = (error: unknown): boolean =>
  error instanceof NftError && error.reason === "refused" && error.stderr.includes("Operation not supported");

const bringsHeld = ({ newChains }: RulesetChange): boolean => newChains.some(([name]) => name === HELD_CHAIN);

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
        return [name, { spec, elements: new Map<string, Value>(place ? pods(place, name) : []) }];
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
