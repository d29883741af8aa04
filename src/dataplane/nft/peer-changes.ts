/**
 * Peers that come and go between two times that the table is put in place whole. What changes while that is under way is
 * remembered and made up for afterwards, since the table may have been rendered before.
 */
import { FAMILIES, familyOf } from "../../addr/index.ts";
import { ElementSocket, type SetChange } from "./rules/elements.ts";
import { type SourceChange, sourceChanges } from "./rules/inner-source.ts";
import type { NetworkRules, NftFeatures } from "./rules/ruleset.ts";
import { setName } from "./rules/sets.ts";

/** Underlay addresses of a network's peers that came and that went. */
export interface PeerChange {
  come: readonly string[];
  gone: readonly string[];
  /** Prefixes of those that came which other rules know as the cluster's from now on. */
  prefixes?: readonly string[];
  /** What they may send from inside the tunnel. */
  sources?: SourceChange;
}

/** Above so many elements the table is put in place whole: each costs the kernel some thirty microseconds. */
const MOST = 256;

/** What comes and goes in the sets of one kind of a network, family by family. */
const changesOf = (
  kind: "peers" | "direct",
  network: NetworkRules,
  come: readonly string[],
  gone: readonly string[],
): SetChange[] =>
  FAMILIES.map((family) => {
    const fits = (what: string): boolean => familyOf(what) === family;
    return { set: setName(kind, network, family), come: come.filter(fits), gone: gone.filter(fits) };
  });

/** The change as one of the sets of a network's peers. */
export const setChanges = (
  network: NetworkRules,
  { come, gone, sources }: PeerChange,
  { innerSource }: NftFeatures,
): SetChange[] => [
  ...changesOf("peers", network, come, gone),
  ...(innerSource && network.sources && sources ? sourceChanges(network, sources) : []),
];

/** Prefixes that come into the set of what pods reach as they are. */
export const prefixChanges = (network: NetworkRules, prefixes: readonly string[]): SetChange[] =>
  changesOf("direct", network, prefixes, []);

/** Makes changes of peers in the table that is in place. */
export class PeerChanges implements Disposable {
  readonly #netns: number | string | undefined;
  #socket: ElementSocket | undefined;
  #waiting: SetChange[] = [];

  constructor(netns: number | string | undefined) {
    this.#netns = netns;
  }

  /** Remembers a change until {@link flush}. */
  wait(changes: readonly SetChange[]): void {
    this.#waiting.push(...changes);
  }

  /** What waits is forgotten: the table is rendered with all of it. */
  forget(): void {
    this.#waiting = [];
  }

  /** Makes what waits. Returns false when the table has to be put in place whole. @throws ElementsRefused, SysError */
  flush(): boolean {
    const changes = this.#waiting;
    this.#waiting = [];
    return this.make(changes);
  }

  /** Makes changes at once. Returns false when the table has to be put in place whole. @throws ElementsRefused, SysError */
  make(changes: readonly SetChange[]): boolean {
    if (changes.reduce((sum, { come, gone }) => sum + come.length + gone.length, 0) > MOST) return false;
    this.#socket ??= ElementSocket.open(this.#netns);
    this.#socket.change(changes);
    return true;
  }

  [Symbol.dispose](): void {
    this.#socket?.close();
    this.#socket = undefined;
  }
}
