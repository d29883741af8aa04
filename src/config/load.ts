/**
 * Puts the agent's configuration together: the file, over it the environment, over that the command line; then the
 * schema judges the whole once, and each problem names the place where its value came from.
 */
import { existsSync } from "node:fs";
import { type AgentConfig, AgentSchema } from "./agent.ts";
import { checked, inFile, type Where } from "./check.ts";
import { ConfigError } from "./error.ts";
import { FLAGS, parseFlags, setPath } from "./flags.ts";
import { parseYaml, readYaml, type YamlFile } from "./yaml.ts";

/** Read when `--config` does not say otherwise and it is there. */
export const DEFAULT_CONFIG_FILE = "/etc/skylane/agent.yaml";

/** Variables and the keys that they set. */
const VARIABLES: readonly (readonly [variable: string, key: string])[] = [
  ["NODE_NAME", "nodeName"],
  ["KUBECONFIG", "kubeconfig"],
];

export interface ConfigSources {
  /** Overrides `--config` and the default file. */
  file?: string;
  /** Arguments without the program's own name. */
  argv?: readonly string[];
  env?: Readonly<Record<string, string | undefined>>;
}

function readFile(file: string | undefined): { name: string; yaml: YamlFile } {
  const name = file ?? DEFAULT_CONFIG_FILE;
  // Absent by default is fine; absent though asked for is an error.
  if (file === undefined && !existsSync(name)) return { name, yaml: parseYaml("", name) };
  return { name, yaml: readYaml(name) };
}

/** The agent's configuration. @throws ConfigError with everything that is wrong, in all sources together. */
export function loadAgentConfig({ file, argv = [], env = {} }: ConfigSources): AgentConfig {
  const line = parseFlags(argv);
  const { name, yaml } = readFile(file ?? line.config);
  const top = yaml.value ?? {};
  if (typeof top !== "object" || Array.isArray(top)) {
    throw new ConfigError([
      { file: name, key: "", value: "", allowed: "", detail: "must be a mapping of keys to values" },
    ]);
  }
  const merged = structuredClone(top) as Record<string, unknown>;
  const origin = new Map<string, { file: string; key: string }>();
  for (const [variable, key] of VARIABLES) {
    if (!env[variable]) continue;
    merged[key] = env[variable];
    origin.set(key, { file: "environment", key: variable });
  }
  for (const flag of FLAGS) {
    const key = flag.path.join(".");
    if (!line.values.has(key)) continue;
    setPath(merged, flag.path, line.values.get(key));
    origin.set(key, { file: "command line", key: `--${flag.name}` });
  }
  const inYaml = inFile(name, yaml.lineOf);
  const where: Where = (path) => {
    const text = path.filter((part) => typeof part === "string").join(".");
    return origin.get(text) ?? inYaml(path);
  };
  return checked(AgentSchema, merged, where, "refused");
}

/** Whether the arguments ask for the usage text. */
export const wantsHelp = (argv: readonly string[]): boolean => argv.some((word) => word === "--help" || word === "-h");
