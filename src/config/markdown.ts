/** docs/configuration.md, made from the schema; `npm run check` fails when the file is not what this returns. */
import * as v from "valibot";
import { AgentSchema } from "./agent.ts";
import { type AnySchema, allowedBy, descriptionOf, entriesOf } from "./check.ts";
import { literal } from "./error.ts";
import { FLAGS } from "./flags.ts";
import { DEFAULT_CONFIG_FILE } from "./load.ts";
import { MAX_FILE_BYTES } from "./yaml.ts";

const defaultOf = (schema: AnySchema): unknown => v.getDefault(schema);

const cell = (text: string): string => text.replaceAll("|", "\\|");

function row(path: readonly string[], schema: AnySchema): string {
  const key = path.join(".");
  const flag = FLAGS.find((one) => one.path.join(".") === key);
  const fallback = defaultOf(schema);
  const optional = schema.type === "optional";
  const shownDefault = fallback !== undefined ? `\`${literal(fallback)}\`` : optional ? "none" : "**required**";
  return `| \`${key}\` | ${flag ? `\`--${flag.name}\`` : "file only"} | ${shownDefault} | ${cell(allowedBy(schema))} | ${cell(descriptionOf(schema))} |`;
}

const HEAD = "| Key | Flag | Default | Allowed | What it does |\n| --- | --- | --- | --- | --- |";

function example(schema: AnySchema, indent = ""): string[] {
  return Object.entries(entriesOf(schema) ?? {}).flatMap(([name, inner]) => {
    if (entriesOf(inner)) return [`${indent}${name}:`, ...example(inner, `${indent}  `)];
    const fallback = defaultOf(inner);
    return fallback === undefined ? [`${indent}# ${name}:`] : [`${indent}${name}: ${literal(fallback)}`];
  });
}

/** The whole document. */
export function configurationMarkdown(): string {
  const entries = Object.entries(AgentSchema.entries as Record<string, AnySchema>);
  const plain = entries.filter(([, schema]) => !entriesOf(schema));
  const sections = entries.filter(([, schema]) => entriesOf(schema));
  const parts = [
    "<!-- Generated from src/config/agent.ts by `node scripts/config-docs.ts`; do not edit. -->",
    "# Configuration of the agent",
    `The agent reads one YAML file, \`${DEFAULT_CONFIG_FILE}\` or what \`--config\` names (in a cluster: a ConfigMap). Every key may be left out unless it says *required*; a key with nothing behind it means its default.`,
    "Command line flags mirror the keys and win over the environment (`NODE_NAME`, `KUBECONFIG`), which wins over the file. `POD_NAMESPACE` is no key: it names the agents' own namespace, where their Lease is (in a DaemonSet: `metadata.namespace` through the downward API). Flags take `--flag value` or `--flag=value`; lists are separated by commas (`--cluster-cidrs 10.244.0.0/16,fd00:10:244::/56`).",
    `An unknown key or a value that is not allowed stops the agent at its start, with every problem named at once: file and line, key, value and what is allowed. Aliases and several documents are refused, and so is a file of more than ${MAX_FILE_BYTES / 1024} KiB. A change takes effect when the agent is restarted, which loses no packet.`,
    "## Keys",
    [HEAD, ...plain.map(([name, schema]) => row([name], schema))].join("\n"),
  ];
  for (const [name, schema] of sections) {
    const rule = allowedBy(schema);
    parts.push(
      `## \`${name}\``,
      `${descriptionOf(schema)}${rule === "" ? "" : ` Allowed: ${rule}.`}`,
      [HEAD, ...Object.entries(entriesOf(schema) ?? {}).map(([key, inner]) => row([name, key], inner))].join("\n"),
    );
  }
  parts.push("## Every default", `\`\`\`yaml\n${example(AgentSchema).join("\n")}\n\`\`\``);
  return `${parts.join("\n\n")}\n`;
}
