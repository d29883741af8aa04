/**
 * Renders the Helm chart with its default values into the manifests for `kubectl apply`, so that the chart is the one source of
 * both ways to install: skylane.yaml for Kubernetes 1.31 and later, skylane-legacy.yaml for older servers, which refuse what they
 * do not know (the admission policies before 1.30, and before 1.25 the custom resources' rules in CEL), and crds.yaml, the custom
 * resources with the rules that servers from 1.25 on know. Templates are rendered by helm/, which knows the part of Go's templates that the chart keeps to.
 *
 *   node scripts/manifests.ts            write the files
 *   node scripts/manifests.ts --check    fail when they are not up to date
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { Templates } from "./helm/render.ts";

const at = (path: string) => fileURLToPath(new URL(`../manifests/${path}`, import.meta.url));
const CHART = "helm/skylane";
const HEAD = "# Made from manifests/helm/skylane by `node scripts/manifests.ts`; change the chart, not this file.\n";

type Values = Record<string, unknown>;

/** For whom a chart is rendered. */
export interface Target {
  namespace?: string;
  /** Version of Kubernetes, as "1.36". */
  kubernetes?: string;
  /** Kinds that the API server knows beside what follows from its version. */
  apis?: readonly string[];
  /** Names of templates without their ending; all that make objects when absent. */
  templates?: readonly string[];
}

const isMap = (value: unknown): value is Values => typeof value === "object" && value !== null && !Array.isArray(value);

/** Values over a chart's own as Helm lays them: maps key by key, null takes a key away (one at the top is nothing then). */
function coalesced(defaults: Values, given: Values, top = true): Values {
  const values: Values = { ...defaults };
  for (const [key, value] of Object.entries(given)) {
    const before = values[key];
    if (value === null && !top) delete values[key];
    else values[key] = isMap(before) && isMap(value) ? coalesced(before, value, false) : value;
  }
  return values;
}

/** The order of objects in a file: what others need first. */
const ORDER = ["namespace", "crds", "admission-policy", "rbac", "configmap", "daemonset", "monitoring"];

/** The chart with other values, as text. */
export function renderChart(changes: Values = {}, target: Target = {}): string {
  const { namespace = "skylane-system", kubernetes = "1.36", apis = [], templates = ORDER } = target;
  const files = readdirSync(at(`${CHART}/templates`));
  const sources = Object.fromEntries(
    files.map((file) => [`skylane/templates/${file}`, readFileSync(at(`${CHART}/templates/${file}`), "utf8")]),
  );
  const chart = parse(readFileSync(at(`${CHART}/Chart.yaml`), "utf8")) as Values;
  const scope = {
    Values: coalesced(parse(readFileSync(at(`${CHART}/values.yaml`), "utf8")) as Values, changes),
    Release: { Name: "skylane", Namespace: namespace, Service: "Helm" },
    Chart: { Name: chart["name"], Version: chart["version"], AppVersion: chart["appVersion"] },
    Template: { BasePath: "skylane/templates" },
    Capabilities: {
      KubeVersion: { Version: `v${kubernetes}.0` },
      APIVersions: { Has: (name: string) => apis.includes(name) },
    },
  };
  const all = new Templates(sources);
  return templates
    .map((name) => all.render(`skylane/templates/${name}${name === "NOTES" ? ".txt" : ".yaml"}`, scope).trim())
    .filter((text) => text !== "")
    .join("\n---\n")
    .concat("\n");
}

/** The files, by name. */
const FILES: Readonly<Record<string, () => string>> = {
  "skylane.yaml": () => HEAD + renderChart({ createNamespace: true }, { kubernetes: "1.31" }),
  "skylane-legacy.yaml": () => HEAD + renderChart({ createNamespace: true }, { kubernetes: "1.20" }),
  "crds.yaml": () => HEAD + renderChart({}, { kubernetes: "1.25", templates: ["crds"] }),
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const check = process.argv.includes("--check");
  for (const [file, text] of Object.entries(FILES)) {
    if (!check) writeFileSync(at(file), text());
    else if (readFileSync(at(file), "utf8") !== text()) {
      console.error(`manifests/${file} is not what the chart gives: run node scripts/manifests.ts`);
      process.exitCode = 1;
    }
  }
  for (const file of readdirSync(at("")).filter((name) => name.endsWith(".yaml") && !Object.hasOwn(FILES, name))) {
    if (!check) rmSync(at(file));
    else {
      console.error(`manifests/${file} is made by nothing any more: run node scripts/manifests.ts`);
      process.exitCode = 1;
    }
  }
}
