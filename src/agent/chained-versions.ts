/**
 * The spec versions that a whole chain of plugins speaks. A runtime takes the highest one of `cniVersions` that it
 * knows itself and asks nobody else, so one older plugin in the chain (Debian 12's portmap ends at 1.0.0) would make
 * every pod fail; what is offered is therefore what all of the chain can do.
 */
import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";

/** Assumed of a plugin that does not say: what every maintained release has spoken since 2021. */
const ASSUMED: readonly string[] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0"];
const TIMEOUT_MS = 2_000;

/** Answers by executable, which is asked again only when it is another one. */
const answers = new Map<string, { stamp: string; versions: readonly string[] }>();

function ask(path: string): readonly string[] {
  const { status, stdout } = spawnSync(path, [], {
    env: { CNI_COMMAND: "VERSION" },
    input: '{"cniVersion":"1.0.0"}',
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  if (status !== 0) return ASSUMED;
  try {
    const { supportedVersions } = JSON.parse(stdout) as { supportedVersions?: unknown };
    return Array.isArray(supportedVersions) ? supportedVersions.filter((v) => typeof v === "string") : ASSUMED;
  } catch {
    return ASSUMED; // not an answer: nothing is known of it
  }
}

function versionsOf(path: string): readonly string[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return ASSUMED; // not installed where we look; the runtime may still find it
  const stamp = `${stat.ino} ${stat.size} ${stat.mtimeMs}`;
  const known = answers.get(path);
  if (known?.stamp === stamp) return known.versions;
  const versions = ask(path);
  answers.set(path, { stamp, versions });
  return versions;
}

/** Those of `own` that every plugin speaks; plugins are asked by VERSION, each once. */
export function commonVersions(
  own: readonly string[],
  plugins: readonly Record<string, unknown>[],
  binDir: string,
): readonly string[] {
  const spoken = plugins.map(({ type }) => versionsOf(join(binDir, String(type))));
  return own.filter((version) => spoken.every((versions) => versions.includes(version)));
}
