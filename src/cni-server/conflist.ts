/**
 * The CNI configuration that tells the container runtime about Skylane. It is what makes kubelet call the
 * node ready, so it is written only once the data path works, in one rename, and never taken away when the
 * agent stops: pods come and go without the agent.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DEFAULT_DATA_DIR, DEFAULT_RUN_DIR } from "../cni/index.ts";
import { makeDirectory, writeFileAtomic } from "../sys/index.ts";
import { type ChainInput, chainedPlugins, chainVersions, hasBandwidth, hasHostPorts } from "./chain.ts";

/** What the configuration list depends on. */
export interface ConflistInput extends ChainInput {
  /** Pod network name. */
  network: string;
  runDir: string;
  dataDir: string;
  /** Who limits pods' bandwidth. */
  bandwidth: "own" | "off";
}

/**
 * The configuration list as text; directories are named only where they are not the defaults of the plugin.
 * @throws Error when the chained plugins have no version in common
 */
export function renderConflist(input: ConflistInput): string {
  const plugin = {
    type: "skylane",
    network: input.network,
    ...(input.runDir === DEFAULT_RUN_DIR ? {} : { runDir: input.runDir }),
    ...(input.dataDir === DEFAULT_DATA_DIR ? {} : { dataDir: input.dataDir }),
    capabilities: {
      ips: true,
      mac: true,
      dns: true,
      ipRanges: true,
      ...(hasHostPorts(input) && { portMappings: true }),
      ...(hasBandwidth(input) && { bandwidth: true }),
    },
  };
  const list = {
    ...chainVersions(input),
    name: "skylane",
    plugins: [plugin, ...chainedPlugins(input)],
  };
  return `${JSON.stringify(list, null, 2)}\n`;
}

/**
 * Makes the file say `text`. @returns whether it had to be written.
 * @throws Error (with the system's code) when the directory cannot be made or written.
 */
export function ensureConflist(confDir: string, name: string, text: string): boolean {
  const path = join(confDir, name);
  try {
    if (readFileSync(path, "utf8") === text) return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  makeDirectory(confDir);
  writeFileAtomic(path, text, { mode: 0o644, durable: true });
  return true;
}

/** CNI configurations that sort before ours: the runtime takes the first one, so with any of these Skylane is never called. */
export function conflistsBefore(confDir: string, name: string): string[] {
  let files: string[];
  try {
    // a runtime passes over directories (libcni's ConfFiles)
    const entries = readdirSync(confDir, { withFileTypes: true });
    files = entries.filter((entry) => !entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  return files.filter((file) => /\.(conf|conflist|json)$/.test(file) && file < name).sort();
}

/** Whether a configuration list is one that the agent wrote: its first plugin is ours. */
export function isOurConflist(text: string): boolean {
  try {
    const { name, plugins } = JSON.parse(text) as { name?: unknown; plugins?: { type?: unknown }[] };
    return name === "skylane" && Array.isArray(plugins) && plugins[0]?.type === "skylane";
  } catch {
    return false; // not JSON: somebody else's
  }
}
