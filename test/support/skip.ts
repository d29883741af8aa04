/** Leaves a test out that cannot run here, or in a hook all tests of its suite, and says why in its name, which is what the end of a run tells. */
export function skip({ test }: Mocha.Context, why: string): never {
  const runnable = test as Mocha.Runnable & { type?: string };
  const named = runnable.type === "hook" ? (runnable.parent as Mocha.Suite) : runnable;
  named.title += ` (skipped: ${why})`;
  return runnable.skip();
}
