/** Leaves a test out that cannot run here, and says why in its name, which is what the end of a run tells. */
export function skip(context: Mocha.Context, why: string): never {
  (context.test as Mocha.Runnable).title += ` (skipped: ${why})`;
  return context.skip();
}
