/**
 * Changes in the kernel's own bytes: for a pod whose labels change, or one that comes, starting nft takes some ten times as long as the rest, and for a
 * policy with ten thousand peers their addresses as a text.
 *
 * Byte orders are those in which nft declares the maps: keys are as packets have them, but for the class, which is a number of this machine, and in a map
 * with ranges turned round, since ranges are compared byte by byte (nft puts a conversion before the look-up there).
 */
import { ipToBytes } from "../../addr/index.ts";
import type { RawElement, RawStep } from "../../dataplane/nft/index.ts";
import type { MapChange, MapSpec, RulesetChange, Value } from "../compile/ruleset.ts";
import { chainNames, namedValue, PASSING_MS, POLICY_TABLE } from "./render.ts";

/** Numbers of IP protocols (IANA). */
const PROTOCOL: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/**
 * What a change does to chains and maps that are there, as one transaction: elements come and go, pods are led to chains that have come before, and what nothing
 * leads to any more goes. Undefined where elements are among it that are left to nft.
 */
export function rawSteps({ whole, maps, newMaps, goneMaps, goneChains }: RulesetChange): RawStep[] | undefined {
  if (whole) return undefined;
  const isNew = new Set(newMaps.map(([name]) => name));
  const changed = maps.filter(({ map }) => !isNew.has(map));
  if (changed.some(({ spec }) => keyBytes(spec, undefined) === undefined)) return undefined;
  const change = (set: string, come: RawElement[], gone: RawElement[]): RawStep => ({
    table: POLICY_TABLE,
    set,
    come,
    gone,
  });
  const elements = ({ map, spec, come, gone }: MapChange): RawStep[] => {
    const all = (elements: MapChange["come"]): RawElement[] =>
      elements.map(([key, value]) => rawElement(spec, key, value));
    if (spec.kind !== "named") return [change(map, all(come), all(gone))];
    // The kernel may have let go of an element by itself, and what is not there cannot be taken away: it is put there first.
    const lasts = ([, value]: [string, Value]): boolean => namedValue(value as string).leftMs > 0;
    const again = all(gone).map((one) => ({ ...one, timeoutMs: PASSING_MS }));
    return [change(map, again, []), change(map, all(come.filter(lasts)), all(gone))];
  };
  const remove = (what: "rules" | "chain" | "set", names: readonly string[]): RawStep[] =>
    names.map((name) => ({ table: POLICY_TABLE, remove: what, name }));
  const chains = goneChains.flatMap(([name, chain]) => chainNames(name, chain));
  const [few, many] = [false, true].map((many) => changed.filter(({ spec }) => (spec.kind === "peers") === many));
  return [
    ...(few as MapChange[]).flatMap(elements),
    ...remove("rules", chains),
    ...remove("set", goneMaps),
    ...remove("chain", chains),
    ...(many as MapChange[]).flatMap(elements),
  ];
}

/** Numbers as bytes: ten thousand addresses have a few classes, and an array costs more than all else of an element. */
const numbers = new Map<number, Uint8Array>();
const MOST_NUMBERS = 10_000;

function hostNumber(value: number): Uint8Array {
  const known = numbers.get(value);
  if (known) return known;
  if (numbers.size >= MOST_NUMBERS) numbers.clear();
  const bytes = new Uint8Array(Uint32Array.of(value).buffer);
  numbers.set(value, bytes);
  return bytes;
}

function rawElement(spec: MapSpec, key: string, value: Value): RawElement {
  const keys = (keyBytes(spec, key) ?? []) as [Uint8Array, Uint8Array?];
  if (spec.kind === "named") {
    const { id, leftMs } = namedValue(value as string);
    return { key: keys[0], value: hostNumber(id), timeoutMs: leftMs };
  }
  return {
    key: keys[0],
    ...(keys[1] && { keyEnd: keys[1] }),
    ...(value !== true && { value: typeof value === "number" ? hostNumber(value) : { goto: value || undefined } }),
  };
}

/** The key, and the last one of a range; undefined for maps whose elements are left to nft. Without a key: whether they are. */
function keyBytes(spec: MapSpec, key: string | undefined): Uint8Array[] | undefined {
  switch (spec.kind) {
    case "peers":
    case "pods":
    case "named":
    case "asking":
    case "servers":
      return key === undefined ? [] : [ipToBytes(key)];
    case "self":
      return key === undefined ? [] : [Buffer.concat([ipToBytes(key), ipToBytes(key)])];
    case "classes":
      return key === undefined ? [] : [hostNumber(Number(key))];
    case "ports":
      return key === undefined ? [] : portKeys(key);
    // Pieces of blocks, and ports that hold for everybody, come and go with rules.
    default:
      return undefined;
  }
}

function portKeys(key: string): Uint8Array[] {
  const [id, protocol, ...range] = key.split(" ") as [string, string, string, string];
  return range.map((port) => {
    const bytes = Buffer.alloc(12);
    bytes.writeUInt32BE(Number(id), 0);
    bytes[4] = PROTOCOL[protocol] as number;
    bytes.writeUInt16BE(Number(port), 8);
    return bytes;
  });
}
