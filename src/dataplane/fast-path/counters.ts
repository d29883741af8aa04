/** What became of packets, out of the programs' counters: each processor has its own, and what counts is their sum. */
import { readFileSync } from "node:fs";
import type { BpfMap } from "../bpf/index.ts";
import { numberKey } from "./programs/maps.ts";
import { counterOf, DIRECTIONS, type Direction, FAST, type Outcome, OUTCOMES } from "./programs/outcomes.ts";

/** Processors that this machine could have. */
const POSSIBLE = "/sys/devices/system/cpu/possible";
const VALUE = 8;

/** Packets by what became of them. */
export interface PacketCount {
  /** Whence they came: out of pods here, or from the wire. */
  from: Direction;
  path: "fast" | "slow";
  /** What a fast one was, or why one was slow. */
  outcome: Outcome;
  packets: number;
}

/** The last processor of "0-3" or "0,2-7", and one. */
const processors = (): number => 1 + Number(/(\d+)\s*$/.exec(readFileSync(POSSIBLE, "utf8"))?.[1] ?? 0);

let known: number | undefined;

/** Those that are not zero. @throws SysError */
export function readCounters(map: BpfMap): PacketCount[] {
  const count = (known ??= processors());
  return DIRECTIONS.flatMap((from) =>
    OUTCOMES.flatMap((outcome): PacketCount[] => {
      const values = map.get(numberKey(counterOf(from, outcome)), count * VALUE);
      let packets = 0;
      if (values) for (let at = 0; at < values.length; at += VALUE) packets += Number(values.readBigUInt64LE(at));
      return packets === 0 ? [] : [{ from, path: FAST.has(outcome) ? "fast" : "slow", outcome, packets }];
    }),
  );
}
