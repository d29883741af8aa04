/** Alerts and the dashboard speak of metrics that the agent has, by labels that these have. */
import assert from "node:assert/strict";
import { parseAllDocuments } from "yaml";
import { renderChart } from "../../../scripts/manifests.ts";
import { Metrics } from "../../../src/observe/index.ts";

interface Document {
  kind: string;
  spec: {
    groups: { rules: { alert: string; expr: string; for: string; annotations: { summary: string } }[] }[];
    podMetricsEndpoints: { port: string; authorization?: { credentials: object } }[];
  };
  data: Record<string, string>;
}

const documents = (metrics: object, more: object = {}): Document[] =>
  parseAllDocuments(renderChart({ metrics, ...more }, { templates: ["monitoring"] }))
    .map((document) => document.toJS() as Document | null)
    .filter((document) => document !== null);
const only = (metrics: object, kind: string, more: object = {}): Document => {
  const all = documents(metrics, more);
  assert.deepEqual(
    all.map((one) => one.kind),
    [kind],
  );
  return all[0] as Document;
};

/** Metrics by name, histograms by each name that they are stored under, with their labels. */
function known(): Map<string, Set<string>> {
  const names = new Map<string, Set<string>>();
  for (const { name, type, labels } of describedMetrics()) {
    const suffixes = type === "histogram" ? ["_bucket", "_count", "_sum"] : [""];
    for (const suffix of suffixes)
      names.set(
        `${name}${suffix}`,
        new Set([...labels, ...(suffix === "_bucket" ? ["le"] : []), "instance", "job", "node"]),
      );
  }
  return names;
}

function describedMetrics(): { name: string; type: string; labels: string[] }[] {
  const metrics = new Metrics("test");
  return metrics.registry.getMetricsAsArray().map((metric) => {
    const { name, type, labelNames = [] } = metric as unknown as { name: string; type: string; labelNames?: string[] };
    return { name, type, labels: [...labelNames] };
  });
}

/** What of an expression there is not. */
function unknown(expr: string): string[] {
  const metrics = known();
  const found: string[] = [];
  const labels = new Set<string>();
  for (const [, name = "", selector = ""] of expr.matchAll(/\b((?:skylane|process)_\w+)(?:\{([^}]*)\})?/g)) {
    const its = metrics.get(name);
    if (!its) found.push(name);
    for (const label of its ?? []) labels.add(label);
    for (const [, label = ""] of selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g))
      if (!its?.has(label)) found.push(`${name}{${label}}`);
  }
  for (const [, list = ""] of expr.matchAll(/\b(?:by|on)\s*\(([^)]*)\)/g))
    for (const label of list.split(",").map((text) => text.trim())) if (!labels.has(label)) found.push(`by ${label}`);
  assert.ok(labels.size > 0, `${expr} asks for no metric`);
  return found;
}

describe("the chart's monitoring", () => {
  it("is there only when it is asked for", () => assert.deepEqual(documents({}), []));

  it("scrapes with the token where there is one", () => {
    const [endpoint] = only({ podMonitor: true, tokenSecret: "x" }, "PodMonitor").spec.podMetricsEndpoints;
    assert.deepEqual(
      [endpoint?.port, endpoint?.authorization],
      ["metrics", { credentials: { name: "x", key: "token" } }],
    );
    assert.equal(only({ podMonitor: true }, "PodMonitor").spec.podMetricsEndpoints[0]?.authorization, undefined);
  });

  it("alerts by metrics and labels that there are, and says what to do", () => {
    const rulesOf = (more: object) =>
      only({ rules: true }, "PrometheusRule", more).spec.groups.flatMap((group) => group.rules);
    const rules = rulesOf({ encryptionKeyDays: 90 });
    const names = rules.map(({ alert }) => alert);
    for (const name of ["SkylaneFaultBetweenNodes", "SkylaneKeyRotationStandsStill"]) assert.ok(names.includes(name));
    // Where keys do not grow too old, nobody is told that they have.
    assert.deepEqual(
      names.filter((name) => !rulesOf({}).some(({ alert }) => alert === name)),
      ["SkylaneKeyTooOld"],
    );
    const tooOld = rules.find(({ alert }) => alert === "SkylaneKeyTooOld")?.expr ?? "";
    assert.match(tooOld, new RegExp(` > ${90 * 86_400 * 1.25}$`));
    for (const { alert, expr, annotations } of rules) {
      assert.deepEqual(unknown(expr), [], alert);
      assert.match(annotations.summary, /^[A-Z].*\.$/);
    }
  });

  it("shows metrics and labels that there are", () => {
    const dashboard = JSON.parse(only({ dashboard: true }, "ConfigMap").data["skylane.json"] ?? "") as {
      panels: { id: number; title: string; description: string; targets: { expr: string }[] }[];
    };
    assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length);
    for (const { title, description, targets } of dashboard.panels) {
      assert.ok(description);
      for (const { expr } of targets) assert.deepEqual(unknown(expr), [], title);
    }
  });

  it("is told from metrics that there are not", () => {
    assert.deepEqual(unknown('skylane_peers{colour="red"}'), ["skylane_peers{colour}"]);
    assert.deepEqual(unknown("sum by (colour) (skylane_peers) + skylane_peas"), ["skylane_peas", "by colour"]);
  });

  it("gives all of it together", () => {
    const all = documents({ podMonitor: true, rules: true, dashboard: true });
    assert.deepEqual(
      all.map(({ kind }) => kind),
      ["PodMonitor", "PrometheusRule", "ConfigMap"],
    );
  });
});
