/** The kernel tests that say something about a kernel: what Skylane asks of it, and little else. */
import { shown } from "./command.ts";
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
];
/** Those where the fast path can be on, too. */
const OF_FAST_PATH = ["kernel/fast-path/differential"];

/** A machine without a processor's help is some ten times slower. */
const PATIENCE = "10";

/** Parts of the names of the files that say something about a kernel. @param fastPath whether that can be on */
export const selection = (fastPath: boolean): string[] => [...SELECTION, ...(fastPath ? OF_FAST_PATH : [])];

/** Runs kernel tests. @param patterns parts of names of files */
export async function kernelTests(patterns: readonly string[]): ReturnType<Trial> {
  process.env["SKYLANE_TEST_PATIENCE"] ??= PATIENCE;
  const { text } = await shown("node", "scripts/test.mjs", "kernel", ...patterns);
  const sum = /^(\d+) passed, (\d+) failed, (\d+) skipped$/m.exec(text);
  if (!sum) throw new Error("the tests ended without a sum");
  const [passed, failed, skipped] = sum.slice(1).map(Number) as [number, number, number];
  const says = `${passed} passed, ${failed} failed, ${skipped} skipped`;
  return { outcome: failed > 0 ? "failed" : "passed", says, counts: { passed, failed, skipped } };
}
