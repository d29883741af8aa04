/** Waiting for something, but not for ever. */

/** Resolves with what is coming, or rejects after `ms` milliseconds with what `late` makes. */
export async function within<T>(coming: Promise<T>, ms: number, late: () => Error): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(late()), ms);
  try {
    return await Promise.race([coming, promise]);
  } finally {
    clearTimeout(timer);
  }
}
