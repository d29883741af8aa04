/** Waiting for something, but not for ever. */

/** Resolves with what is coming, or rejects after `ms` milliseconds with what `late` makes. */
export async function within(coming: Promise<void>, ms: number, late: () => Error): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(late()), ms);
  try {
    await Promise.race([coming, promise]);
  } finally {
    clearTimeout(timer);
  }
}
