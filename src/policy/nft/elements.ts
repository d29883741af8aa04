/**
 * A change of elements alone, in the kernel's own bytes: for a pod whose labels change, or one that comes, starting nft takes some ten times as
 * long as the rest.
 *
 * Byte orders are those in which nft declares the maps: keys are as packets have them, but for the class, which is a number of this machine, and in a map
 * with ranges turned round, since ranges are compared byte by byte (nft puts a conversion before the look-up there).
 */
import { ipToBytes } from "../../addr/index.ts";
import type { RawChange, RawElement } from "../../dataplane/nft/index.ts";
import type { MapSpec, RulesetChange, Value } from "../compile/ruleset.ts";
import { POLICY_TABLE } from "./render.ts";

/** Above so many elements nft is as quick. */
const MOST = 1_000;
/** Numbers of IP protocols (IANA). */
const PROTOCOL: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/** A change as elements; undefined where it is more than that and goes by nft. */
export function rawChanges({ elementsOnly, maps }: RulesetChange): RawChange[] | undefined {
  if (!elementsOnly || maps.some(({ spec }) => keyBytes(spec, undefined) === undefined)) return undefined;
  if (maps.reduce((sum, { come, gone }) => sum + come.length + gone.length, 0) > MOST) return undefined;
  return maps.map(({ map, spec, come, gone }) => ({
    table: POLICY_TABLE,
    set: map,
    come: come.map(([key, value]) => rawElement(spec, key, value)),
    gone: gone.map(([key, value]) => rawElement(spec, key, value)),
  }));
}

const hostNumber = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

function rawElement(spec: MapSpec, key: string, value: Value): RawElement {
  const keys = (keyBytes(spec, key) ?? []) as [Uint8Array, Uint8Array?];
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
