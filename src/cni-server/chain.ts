/**
 * The plugins that are chained behind ours, and the spec versions that the whole chain speaks. Each plugin of a configuration list is called in one version, and
 * one that does not know it fails for every pod. Which version that is, the runtime chooses:
 *
 * - libcni before 1.2 (containerd up to 1.7, dockershim, podman 4) takes the list's `cniVersion`, and one before 1.0 (containerd
 *   1.5, dockershim) reads results up to 0.4.0 only;
 * - newer ones take the highest of `cniVersions` that they know (CNI 1.1.0, section 1).
 *
 * So `cniVersions` is what all plugins speak, and `cniVersion` the newest of these that the oldest runtimes read: 0.4.0, with which
 * nothing is lost. A plugin of the year 2021 (containernetworking-plugins 0.9: up to 0.4.0) is as good as one of today.
 *
 * The executables that count are those that the runtime finds. As long as no runtime has told (see runtime-plugins.ts), they are taken
 * to be those of the directory that the agent is configured with.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { join } from "node:path";
import { type ChainAnswer, type FoundPlugin, SUPPORTED_VERSIONS } from "../cni/index.ts";

/** What libcni 0.7 and 0.8 read at most. */
const OLDEST_RUNTIMES = "0.4.0";
/** Assumed of a plugin that does not say: what every release since 2019 has spoken, the oldest of runtimes too. */
const ASSUMED: readonly string[] = ["0.3.0", "0.3.1", "0.4.0"];
const TIMEOUT_MS = 2_000;
/** A plugin that gave no answer is asked again after so long, in milliseconds; twice as long each time, and at most so long. */
const ASK_AGAIN_MS = 10_000;
const ASK_SELDOM_MS = 10 * 60_000;

/** Answers by executable, which is asked again only when it is another one. */
const answers = new Map<
  string,
  { stamp: string; versions: readonly string[] | undefined; pause: number; until: number }
>();

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
  const known = answers.get(path);
  const same = known?.stamp === stamp ? known : undefined;
  if (same && (same.versions !== undefined || performance.now() < same.until)) return same.versions ?? ASSUMED;
  const versions = ask(path);
  const pause = same ? Math.min(2 * same.pause, ASK_SELDOM_MS) : ASK_AGAIN_MS;
  answers.set(path, { stamp, versions, pause, until: performance.now() + pause });
  return versions ?? ASSUMED;
}

/** What the chain depends on. */
export interface ChainInput {
  /** Plugins to run after Skylane; "auto" means portmap where host ports are its business and its executable is installed. */
  chained: "auto" | readonly Record<string, unknown>[];
  /** Who maps host ports. */
  hostPorts: "own" | "portmap";
  /** Pods run whose host ports portmap may have mapped. */
  portmapped?: boolean;
  /** Where plugins are looked for as long as no runtime has told what it finds. */
  binDir: string;
  /** What each runtime of the node finds. */
  runtimes?: readonly ChainAnswer[] | undefined;
}

/** Types that may be in the chain. */
export function chainedTypes(input: Pick<ChainInput, "chained" | "hostPorts" | "portmapped">): string[] {
  const { chained } = input;
  if (chained !== "auto") return [...new Set(chained.map(({ type }) => String(type)))];
  return portmapOf(input) ? ["portmap"] : [];
}

/** The plugin portmap as `auto` has it, if it does: without its capability it takes away what it has made, and makes nothing. */
function portmapOf({ hostPorts, portmapped }: Pick<ChainInput, "hostPorts" | "portmapped">) {
  if (hostPorts === "portmap") return { type: "portmap", capabilities: { portMappings: true }, snat: true };
  return portmapped ? { type: "portmap", snat: true } : undefined;
}

/** Whether host ports are Skylane's: where the operator chains a plugin for them they are that one's. */
export const hasHostPorts = ({ hostPorts, chained }: Pick<ChainInput, "chained" | "hostPorts">): boolean =>
  hostPorts === "own" && !isOfAnother("portMappings", chained);

/** Whether pods' bandwidth is Skylane's: as {@link hasHostPorts}. */
export const hasBandwidth = ({
  bandwidth,
  chained,
}: Pick<ChainInput, "chained"> & { bandwidth: "own" | "off" }): boolean =>
  bandwidth === "own" && !isOfAnother("bandwidth", chained);

/** Whether a chained plugin has a capability. */
function isOfAnother(capability: string, chained: ChainInput["chained"]): boolean {
  const others = chained === "auto" ? [] : chained.map(({ capabilities }) => capabilities);
  return others.some((one) => (one as Record<string, unknown> | undefined)?.[capability] === true);
}

/** What each runtime that has told of a type finds under it. */
export const foundBy = (type: string, { runtimes = [] }: Pick<ChainInput, "runtimes">): (FoundPlugin | null)[] =>
  runtimes.flatMap(({ plugins }) => plugins.get(type) ?? (plugins.has(type) ? [null] : []));

/** Whether an executable is in the configured directory. */
export function isInstalled(type: string, { binDir }: Pick<ChainInput, "binDir">): boolean {
  try {
    accessSync(join(binDir, type), constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether pods' plugins can be of that type: every runtime finds it. */
export function isFound(type: string, input: ChainInput): boolean {
  const found = foundBy(type, input);
  return found.length > 0 ? !found.includes(null) : isInstalled(type, input);
}

/** The plugins chained behind Skylane: those configured, or portmap where it has something to do and is found. */
export function chainedPlugins(input: ChainInput): readonly Record<string, unknown>[] {
  if (input.chained !== "auto") return input.chained;
  const portmap = portmapOf(input);
  // Where it is not found, it maps no host ports; everything else works.
  return portmap && isFound("portmap", input) ? [portmap] : [];
}

/** Versions that every executable of a type speaks. */
function spokenBy(type: string, input: ChainInput): readonly string[] {
  const found = foundBy(type, input);
  if (found.length === 0) return versionsOf(join(input.binDir, type));
  const each = found.map((one) => one?.versions ?? ASSUMED);
  return (each[0] ?? []).filter((version) => each.every((versions) => versions.includes(version)));
}

/** The versions of a configuration list. */
export interface ChainVersions {
  cniVersion: string;
  cniVersions: readonly string[];
}

/**
 * What the list of the chain says: the versions that every plugin speaks, Skylane too, oldest first.
 * @throws Error when there is none
 */
export function chainVersions(input: ChainInput): ChainVersions {
  const types = chainedPlugins(input).map(({ type }) => String(type));
  const spoken = types.map((type) => ({ type, versions: spokenBy(type, input) }));
  const cniVersions = SUPPORTED_VERSIONS.filter((version) =>
    spoken.every(({ versions }) => versions.includes(version)),
  );
  const [oldest] = cniVersions;
  if (oldest === undefined) {
    const each = spoken.map(({ type, versions }) => `${type} speaks ${versions.join(", ") || "none"}`);
    throw new Error(
      `the plugins of cni.chained have no CNI version in common: skylane speaks ${SUPPORTED_VERSIONS.join(", ")}; ${each.join("; ")}. ` +
        "Install other releases of them, or take them out of cni.chained",
    );
  }
  const readByAll = SUPPORTED_VERSIONS.slice(0, SUPPORTED_VERSIONS.indexOf(OLDEST_RUNTIMES) + 1);
  return { cniVersion: cniVersions.findLast((version) => readByAll.includes(version)) ?? oldest, cniVersions };
}
