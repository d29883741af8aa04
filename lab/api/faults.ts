/**
 * Misbehaviour on demand: what an API server does on its bad days, so that tests can show what its clients do then.
 * Rules change the answers to requests that they match, for a number of times or until they are replaced; switches
 * last; the rest happens once, at once.
 */
import * as v from "valibot";
import type { RequestInfo } from "./http/router.ts";
import type { Version } from "./store/version.ts";

const Match = v.strictObject({
  /** get, list, watch, create, update, patch, delete, deletecollection; absent: all. */
  verbs: v.optional(v.array(v.string())),
  /** Plural names; absent: all. */
  resources: v.optional(v.array(v.string())),
  /** Object names; a list or watch has none. */
  names: v.optional(v.array(v.string())),
  /** User names. */
  users: v.optional(v.array(v.string())),
});

const Action = v.variant("kind", [
  /** Answers with an error Status. */
  v.strictObject({
    kind: v.literal("status"),
    code: v.pipe(v.number(), v.integer(), v.minValue(400), v.maxValue(599)),
    retryAfterSeconds: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0))),
  }),
  /** Takes the request and never answers; the connection breaks when the rules are replaced. */
  v.strictObject({ kind: v.literal("stall") }),
  /** Breaks the connection. */
  v.strictObject({ kind: v.literal("reset") }),
  /** Answers later. */
  v.strictObject({ kind: v.literal("delay"), ms: v.pipe(v.number(), v.minValue(0)) }),
  /** Lists, and the initial events of watches, show nothing. */
  v.strictObject({ kind: v.literal("empty-list") }),
  /** Lists, and the initial events of watches, show the first `keep` objects only and none of `omit`. */
  v.strictObject({
    kind: v.literal("partial-list"),
    keep: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0))),
    omit: v.optional(v.array(v.string())),
  }),
]);

const Settings = v.strictObject({
  /** Replaces all rules; the first that matches decides, delays and lists combine. */
  rules: v.optional(
    v.array(
      v.strictObject({
        match: v.optional(Match, {}),
        /** How many requests it hits; absent: until it is replaced. */
        times: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
        action: Action,
      }),
    ),
  ),
  /** Open and later watches stay open and send nothing, until switched off; then they catch up. */
  stallWatches: v.optional(v.boolean()),
  /** false: no bookmarks, as from a server that does not know them. */
  bookmarks: v.optional(v.boolean()),
  /** false: sendInitialEvents is refused, as by servers before 1.32. */
  watchList: v.optional(v.boolean()),
  /** false: custom resources are taken as they come, as where their definition has neither schema nor rules. */
  schemas: v.optional(v.boolean()),
  /** Once: ends every open watch, cleanly or by breaking the connection. */
  dropWatches: v.optional(v.picklist(["end", "reset"])),
  /** Once: sends a line that is no JSON on every open watch, or half a line and the end of the stream. */
  corruptWatches: v.optional(v.picklist(["garbage", "truncate"])),
  /** Once: sends an ERROR event with 410 Expired on every open watch and ends it. */
  expireWatches: v.optional(v.boolean()),
  /** Once: forgets all history, so that older resourceVersions and continue tokens are 410. */
  compact: v.optional(v.boolean()),
  /** Closes the listening socket and every connection: for so many milliseconds, or (true) until set to false. */
  away: v.optional(v.union([v.boolean(), v.strictObject({ ms: v.pipe(v.number(), v.minValue(1)) })])),
});

/** What `set` takes; only what is given changes. */
export type FaultSettings = v.InferInput<typeof Settings>;
type Rule = NonNullable<v.InferOutput<typeof Settings>["rules"]>[number] & { hits: number };

/** What the faults do to the server. */
export interface FaultTarget {
  schemas(count: boolean): void;
  dropWatches(how: "end" | "reset"): void;
  corruptWatches(how: "garbage" | "truncate"): void;
  expireWatches(): void;
  resumeWatches(): void;
  compact(): void;
  /** Breaks connections whose requests are being stalled. */
  releaseStalled(): void;
  away(forMs: number | undefined): Promise<void>;
  back(): Promise<void>;
}

/** What to do with one request. */
export interface Verdict {
  delayMs: number;
  end:
    | { kind: "status"; code: number; retryAfterSeconds?: number | undefined }
    | { kind: "stall" }
    | { kind: "reset" }
    | undefined;
  /** What of a list is shown. */
  narrow: (items: Version[]) => Version[];
}

/** The faults that are set. */
export class Faults {
  readonly #target: FaultTarget;
  #rules: Rule[] = [];
  #stallWatches = false;
  #bookmarks = true;
  #watchList = true;

  constructor(target: FaultTarget) {
    this.#target = target;
  }

  get watchesStalled(): boolean {
    return this.#stallWatches;
  }
  get bookmarks(): boolean {
    return this.#bookmarks;
  }
  get watchList(): boolean {
    return this.#watchList;
  }

  /** Changes what is given. Throws a TypeError that names the key for settings that are malformed. */
  async set(given: FaultSettings): Promise<void> {
    const settings = parseSettings(given);
    this.#bookmarks = settings.bookmarks ?? this.#bookmarks;
    this.#watchList = settings.watchList ?? this.#watchList;
    if (settings.schemas !== undefined) this.#target.schemas(settings.schemas);
    if (settings.rules !== undefined) {
      this.#rules = settings.rules.map((rule) => ({ ...rule, hits: 0 }));
      this.#target.releaseStalled();
    }
    if (settings.stallWatches !== undefined) {
      this.#stallWatches = settings.stallWatches;
      if (!settings.stallWatches) this.#target.resumeWatches();
    }
    if (settings.compact) this.#target.compact();
    if (settings.corruptWatches !== undefined) this.#target.corruptWatches(settings.corruptWatches);
    if (settings.expireWatches) this.#target.expireWatches();
    if (settings.dropWatches !== undefined) this.#target.dropWatches(settings.dropWatches);
    if (settings.away === false) await this.#target.back();
    else if (settings.away !== undefined)
      await this.#target.away(settings.away === true ? undefined : settings.away.ms);
  }

  /** Back to good behaviour. */
  async clear(): Promise<void> {
    await this.set({ rules: [], stallWatches: false, bookmarks: true, watchList: true, schemas: true, away: false });
  }

  /** The settings that last, and how often each rule was hit. */
  state(): { rules: Rule[]; stallWatches: boolean; bookmarks: boolean; watchList: boolean } {
    const { watchesStalled: stallWatches, bookmarks, watchList } = this;
    return { rules: this.#rules.map((rule) => ({ ...rule })), stallWatches, bookmarks, watchList };
  }

  /** What the rules say of a request; counts it. */
  judge(request: RequestInfo, user: string): Verdict {
    const verdict: Verdict = { delayMs: 0, end: undefined, narrow: (items) => items };
    for (const rule of this.#rules) {
      if (verdict.end !== undefined) break;
      if (!matches(rule, request, user) || (rule.times !== undefined && rule.hits >= rule.times)) continue;
      const { action } = rule;
      const shows = action.kind === "empty-list" || action.kind === "partial-list";
      if (shows && request.verb !== "list" && request.verb !== "watch") continue;
      rule.hits += 1;
      if (action.kind === "delay") verdict.delayMs += action.ms;
      else if (action.kind === "empty-list") verdict.narrow = () => [];
      else if (action.kind === "partial-list") verdict.narrow = partial(verdict.narrow, action.keep, action.omit ?? []);
      else verdict.end = action;
    }
    return verdict;
  }
}

function partial(inner: Verdict["narrow"], keep: number | undefined, omit: readonly string[]): Verdict["narrow"] {
  return (items) => {
    const left = inner(items).filter(({ object }) => !omit.includes(object.metadata.name));
    return keep === undefined ? left : left.slice(0, keep);
  };
}

function matches({ match }: Rule, request: RequestInfo, user: string): boolean {
  const allows = (list: readonly string[] | undefined, value: string): boolean => list?.includes(value) ?? true;
  return (
    allows(match.verbs, request.verb) &&
    allows(match.resources, request.resource) &&
    allows(match.names, request.name ?? "") &&
    allows(match.users, user)
  );
}

/** Checks settings. Throws a TypeError that names the key. */
export function parseSettings(given: unknown): v.InferOutput<typeof Settings> {
  const result = v.safeParse(Settings, given);
  if (result.success) return result.output;
  const problems = result.issues.map((issue) => `${v.getDotPath(issue) ?? "settings"}: ${issue.message}`);
  throw new TypeError(`fault settings: ${problems.join("; ")}`);
}
