/** What several ask for at once, and is made once. */

/** One run at a time: who asks meanwhile gets the same answer. */
export function shared<T>(run: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => (running ??= run().finally(() => (running = undefined)));
}
