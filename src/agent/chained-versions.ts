/**
 * The spec versions that a whole chain of plugins speaks. Each plugin of a configuration list is called in one version, and
 * one that does not know it fails for every pod. Which version that is, the runtime chooses:
 *
 * - libcni before 1.2 (containerd up to 1.7, dockershim, podman 4) takes the list's `cniVersion`, and one before 1.0 (containerd
 *   1.5, dockershim) reads results up to 0.4.0 only;
 * - newer ones take the highest of `cniVersions` that they know (CNI 1.1.0, section 1).
 *
 * So `cniVersions` is what all plugins speak, and `cniVersion` the newest of these that the oldest runtimes read: 0.4.0, with which
 * nothing is lost. A plugin of the year 2021 (containernetworking-plugins 0.9: up to 0.4.0) is as good as one of today.
 */
import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";

/** What libcni 0.7 and 0.8 read at most. */
const OLDEST_RUNTIMES = "0.4.0";
/** Assumed of a plugin that does not say: what every release since 2019 has spoken, the oldest of runtimes too. */
const ASSUMED: readonly string[] = ["0.3.0", "0.3.1", "0.4.0"];
const TIMEOUT_MS = 2_000;
/** A plugin that gave no answer is asked again after so long, in milliseconds. */
const ASK_AGAIN_MS = 5 * 60_000;

/** Answers by executable, which is asked again only when it is another one. */
const answers = new Map<string, { stamp: string; versions: readonly string[] | undefined; askedAt: number }>();

function ask(path: string): readonly string[] | undefined {
  const { status, stdout } = spawnSync(path, [], {
    env: { CNI_COMMAND: "VERSION" },
    input: '{"cniVersion":"1.0.0"}',
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  if (status !== 0) return undefined;
  try {
    const { supportedVersions } = JSON.parse(stdout) as { supportedVersions?: unknown };
    return Array.isArray(supportedVersions) ? supportedVersions.filter((v) => typeof v === "string") : undefined;
  } catch {
    return undefined; // not an answer: nothing is known of it
  }
}

function versionsOf(path: string): readonly string[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return ASSUMED; // not installed where we look; the runtime may still find it
  const stamp = `${stat.ino} ${stat.size} ${stat.mtimeMs}`;
  const now = Date.now();
  const known = answers.get(path);
  const holds = known?.stamp === stamp && (known.versions !== undefined || now - known.askedAt < ASK_AGAIN_MS);
  if (holds) return known.versions ?? ASSUMED;
  const versions = ask(path);
  answers.set(path, { stamp, versions, askedAt: now });
  return versions ?? ASSUMED;
}

/** The versions of a configuration list. */
export interface ChainVersions {
  cniVersion: string;
  cniVersions: readonly string[];
}

/**
 * What the list of a chain says: those of `own` (oldest first) that every plugin speaks. Plugins are asked by VERSION, each once.
 * @throws Error when there is none
 */
export function chainVersions(
  own: readonly string[],
  plugins: readonly Record<string, unknown>[],
  binDir: string,
): ChainVersions {
  const spoken = plugins.map(({ type }) => ({ type: String(type), versions: versionsOf(join(binDir, String(type))) }));
  const cniVersions = own.filter((version) => spoken.every(({ versions }) => versions.includes(version)));
  const [oldest] = cniVersions;
  if (oldest === undefined) {
    const each = spoken.map(({ type, versions }) => `${type} speaks ${versions.join(", ") || "none"}`);
    throw new Error(
      `the plugins of cni.chained have no CNI version in common: skylane speaks ${own.join(", ")}; ${each.join("; ")}. ` +
        "Install other releases of them, or take them out of cni.chained",
    );
  }
  const readByAll = own.slice(0, own.indexOf(OLDEST_RUNTIMES) + 1);
  return { cniVersion: cniVersions.findLast((version) => readByAll.includes(version)) ?? oldest, cniVersions };
}
