/** The kernel tests that say something about a kernel: what Skylane asks of it, and little else. */
import { execFileSync } from "node:child_process";
import { shown } from "./command.ts";
import type { Outcome } from "../outcomes.ts";
import type { Trial } from "./main.ts";

/** Parts of the names of their files, where nobody asks for others. */
const SELECTION = [
  "kernel/netlink/objects",
  "kernel/overlay/overlay",
  "kernel/bridge/bridge",
  "kernel/pod/attach",
  "kernel/nft/firewall",
  "kernel/networks/isolation",
  "kernel/encryption",
  "kernel/policy/verdicts",
  "kernel/policy/names",
  "kernel/bandwidth",
  "kernel/agent/host-ports",
  "kernel/lab/egress.",
];
/** Those where the fast path can be on, too. */
const OF_FAST_PATH = ["kernel/fast-path/differential"];

/** A machine without a processor's help is some ten times slower. */
const PATIENCE = "10";

/** Parts of the names of the files that say something about a kernel. @param fastPath whether that can be on */
export const selection = (fastPath: boolean): string[] => [...SELECTION, ...(fastPath ? OF_FAST_PATH : [])];

/** What the kernel says of a process that ended by a fault of its own: "traps: node[7] trap int3 …", "node[7]: segfault at …". */
const CRASH = /traps: \S+\[\d+\] (?:trap )?\w+|\S+\[\d+\]: segfault/g;
/** What the tests say of it: the kernel does not where Node has heard the signal first. */
const ENDED = /(?:ended by|signalCode:) `?(SIG(?:SEGV|TRAP|ILL|ABRT|BUS))\b/;
const crashes = (): string[] => execFileSync("dmesg", { encoding: "utf8", maxBuffer: 16 << 20 }).match(CRASH) ?? [];

type Counts = NonNullable<Outcome["counts"]>;

/** Runs the tests of the files that a part of their names chooses. `crash`: which process ended by a fault of its own, where a test failed. @throws Error when they end without a sum */
async function run(pattern: string): Promise<{ counts: Counts; crash: string | undefined }> {
  const before = crashes().length;
  const { text } = await shown("node", "scripts/test.mjs", "kernel", pattern);
  const sum = /^(\d+) passed, (\d+) failed, (\d+) skipped$/m.exec(text);
  if (!sum) throw new Error(`the tests of ${pattern} ended without a sum`);
  const [passed, failed, skipped] = sum.slice(1).map(Number) as [number, number, number];
  const crash = failed > 0 ? (crashes()[before] ?? ENDED.exec(text)?.[1]) : undefined;
  return { counts: { passed, failed, skipped }, crash };
}

/** Runs kernel tests; those under which a process crashed once more, and says so. @param patterns parts of names of files */
export async function kernelTests(patterns: readonly string[]): ReturnType<Trial> {
  process.env["SKYLANE_TEST_PATIENCE"] ??= PATIENCE;
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const again: string[] = [];
  for (const pattern of patterns) {
    let came = await run(pattern);
    if (came.crash !== undefined) {
      console.log(`NOTE: a process crashed under ${pattern} (${came.crash}); these tests run once more`);
      again.push(`${pattern} again after a crash (${came.crash})`);
      came = await run(pattern);
    }
    for (const key of ["passed", "failed", "skipped"] as const) counts[key] += came.counts[key];
  }
  const sum = `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`;
  return { outcome: counts.failed > 0 ? "failed" : "passed", says: [sum, ...again].join("; "), counts };
}
