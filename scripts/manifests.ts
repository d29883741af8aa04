/**
 * Renders the Helm chart with its default values into manifests/skylane.yaml, so that the chart is the one source of both
 * ways to install. What older API servers refuse is in files of its own: the admission policy, and the custom resources
 * with their CEL rules.
 *
 * It understands the part of Go's templates that the chart keeps to: `{{ .Values.a.b }}`, `{{ .Release.Namespace }}`,
 * `if … end`, the functions `or`, `quote`, `toJson` and `printf "…%v"`, and the trim markers. Anything else is an error.
 *
 *   node scripts/manifests.ts            write the files
 *   node scripts/manifests.ts --check    fail when they are not up to date
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

const at = (path: string) => fileURLToPath(new URL(`../manifests/${path}`, import.meta.url));
const CHART = "helm/skylane";
const HEAD = "# Made from manifests/helm/skylane by `node scripts/manifests.ts`; change the chart, not this file.\n";

type Scope = Record<string, unknown>;

function lookUp(scope: Scope, path: string): unknown {
  return path
    .slice(1)
    .split(".")
    .reduce<unknown>((value, key) => {
      if (value === null || typeof value !== "object" || !(key in value)) throw new Error(`the chart has no ${path}`);
      return (value as Scope)[key];
    }, scope);
}

function evaluate(expression: string, scope: Scope): unknown {
  const [head = "", ...filters] = expression.split("|").map((part) => part.trim());
  const format = /^printf "([^"]*)" (\.[\w.]+)$/.exec(head);
  const or = /^or (\.[\w.]+) (\.[\w.]+)$/.exec(head);
  let value: unknown;
  if (or) value = isTrue(lookUp(scope, or[1] as string)) || isTrue(lookUp(scope, or[2] as string));
  else if (format) value = (format[1] as string).replace("%v", String(lookUp(scope, format[2] as string)));
  else if (/^\.[\w.]+$/.test(head)) value = lookUp(scope, head);
  else throw new Error(`not understood in the chart: {{ ${expression} }}`);
  for (const filter of filters) {
    if (filter === "quote") value = JSON.stringify(String(value));
    else if (filter === "toJson") value = JSON.stringify(value);
    else throw new Error(`not understood in the chart: | ${filter}`);
  }
  return value;
}

/** What Go's templates hold for false: zero, empty string, empty list or map, nil. */
function isTrue(value: unknown): boolean {
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

/** Renders one template. @throws Error naming what it does not understand */
export function render(template: string, scope: Scope): string {
  const trimmed = template.replace(/\s*\{\{-/g, "{{").replace(/-\}\}\s*/g, "}}");
  const open: boolean[] = [];
  let out = "";
  let last = 0;
  for (const match of trimmed.matchAll(/\{\{\s*(.*?)\s*\}\}/gs)) {
    const shown = open.every(Boolean);
    if (shown) out += trimmed.slice(last, match.index);
    last = match.index + match[0].length;
    const action = match[1] as string;
    if (action === "end") open.pop();
    else if (action.startsWith("if ")) open.push(shown && isTrue(evaluate(action.slice(3), scope)));
    else if (shown) out += String(evaluate(action, scope));
  }
  if (open.length > 0) throw new Error("an {{ if }} of the chart has no {{ end }}");
  return (out + trimmed.slice(last)).trim();
}

/** The chart with other values: name of the template → text. */
export function renderChart(changes: Scope, namespace: string, templates: readonly string[]): string {
  const values = { ...(parse(readFileSync(at(`${CHART}/values.yaml`), "utf8")) as Scope), ...changes };
  return templates
    .map((name) => {
      const template = readFileSync(at(`${CHART}/templates/${name}.yaml`), "utf8");
      return render(template, { Values: values, Release: { Namespace: namespace } });
    })
    .filter((text) => text !== "")
    .join("\n---\n")
    .concat("\n");
}

const NAMESPACE = "skylane-system";
const INSTALL = ["namespace", "crds", "rbac", "configmap", "daemonset"];

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = {
    "skylane.yaml": HEAD + renderChart({ createNamespace: true, celRules: false }, NAMESPACE, INSTALL),
    "crds.yaml": HEAD + renderChart({ celRules: true }, NAMESPACE, ["crds"]),
    "admission-policy.yaml": HEAD + renderChart({ admissionPolicy: true }, NAMESPACE, ["admission-policy"]),
  };
  for (const [file, text] of Object.entries(files)) {
    if (!process.argv.includes("--check")) writeFileSync(at(file), text);
    else if (readFileSync(at(file), "utf8") !== text) {
      console.error(`manifests/${file} is not what the chart gives: run node scripts/manifests.ts`);
      process.exitCode = 1;
    }
  }
}
