/** Measurements of npm run bench. In an emulated machine rates say nothing; what they are of one another does. */
import { shown } from "./command.ts";
import type { Trial } from "./main.ts";

/** How many times as long everything may take in a machine without a processor's help. */
const PATIENCE = "10";

/** @param names of the measurements */
export async function measurements(names: readonly string[]): ReturnType<Trial> {
  process.env["SKYLANE_TEST_PATIENCE"] ??= PATIENCE;
  const { status } = await shown("node", "--disable-warning=ExperimentalWarning", "bench/main.ts", ...names);
  if (status !== 0) throw new Error(`the bench ended with status ${status}`);
  return { says: "" };
}
