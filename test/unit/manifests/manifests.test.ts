import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { Ajv } from "ajv";
import { parse, parseAllDocuments } from "yaml";
import { Templates } from "../../../scripts/helm/render.ts";
import { renderChart } from "../../../scripts/manifests.ts";
import { type AgentConfig, loadAgentConfig } from "../../../src/config/index.ts";

interface Manifest {
  kind: string;
  metadata: { name: string; namespace?: string; annotations?: Record<string, string> };
  data?: Record<string, string>;
  rules?: { resources: string[]; resourceNames?: string[]; verbs: string[] }[];
  spec?: Record<string, unknown> & {
    template: {
      metadata: { labels: Record<string, string>; annotations?: Record<string, string> };
      spec: Record<string, unknown> & {
        automountServiceAccountToken: boolean;
        containers: Container[];
        initContainers: Container[];
        volumes: {
          name: string;
          hostPath?: { path: string };
          projected?: { sources: { serviceAccountToken?: { expirationSeconds: number } }[] };
        }[];
      };
    };
  };
}
interface Container {
  name: string;
  image: string;
  resources: { requests: object; limits: object };
  securityContext: {
    privileged?: boolean;
    readOnlyRootFilesystem: boolean;
    capabilities: { drop: string[]; add: string[] };
  };
  volumeMounts: { name: string; mountPath: string; mountPropagation?: string }[];
}

const documents = (text: string): Manifest[] => parseAllDocuments(text).map((document) => document.toJS() as Manifest);
const manifest = (file: string) =>
  readFileSync(fileURLToPath(new URL(`../../../manifests/${file}`, import.meta.url)), "utf8");

const chart = (file: string) => manifest(`helm/skylane/${file}`);

const schema = JSON.parse(chart("values.schema.json")) as { properties: Record<string, { properties?: object }> };
const takes = new Ajv({ allErrors: true, allowUnionTypes: true }).compile(schema);
const without = (all: readonly string[], one: readonly string[]) => all.filter((other) => !one.includes(other));

/** Paths of the values that the chart's schema refuses. */
function faults(value: unknown): string[] {
  if (takes(value)) return [];
  return (takes.errors ?? []).map(({ instancePath, params }) =>
    [instancePath, (params as { additionalProperty?: string }).additionalProperty].filter(Boolean).join("/"),
  );
}

describe("the manifest", () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-manifest-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const configured = (values: Record<string, unknown>): AgentConfig => {
    const map = documents(renderChart(values)).find(({ kind }) => kind === "ConfigMap");
    const file = join(dir, "agent.yaml");
    writeFileSync(file, map?.data?.["agent.yaml"] ?? "");
    return loadAgentConfig({ argv: ["--config", file], env: { NODE_NAME: "node1" } });
  };

  it("configures the agent with its defaults", () => {
    const { vni, port, mtu, clusterCidrs, masquerade, directRouting, listen, underlay } = configured({});
    assert.deepEqual(
      { vni, port, mtu, clusterCidrs, masquerade, directRouting, listen, underlay },
      {
        vni: "auto",
        port: 4789,
        mtu: "auto",
        clusterCidrs: [],
        masquerade: { enabled: true, exclude: [] },
        directRouting: "off",
        listen: "127.0.0.1:9473",
        underlay: {},
      },
    );
  });

  it("passes every value of the chart on to the agent", () => {
    const values = {
      podCidr: "10.1.0.0/16",
      podCidrv6: "fd01::/56",
      serviceCidrs: ["10.2.0.0/16"],
      vni: 1,
      backendPort: 8472,
      mtu: 1400,
      masquerade: false,
      masqueradeExclude: ["192.168.0.0/16"],
      directRouting: "auto",
      fastPath: "off",
      probes: "off",
      flows: "on",
      hostPorts: "portmap",
      bandwidth: "off",
      underlay: { interface: "eth1" },
      listenPort: 9999,
      logLevel: "debug",
      logFormat: "json",
    };
    const config = configured(values);
    assert.deepEqual(config.clusterCidrs, ["10.1.0.0/16", "fd01::/56"]);
    assert.deepEqual(config.serviceCidrs, ["10.2.0.0/16"]);
    assert.deepEqual(
      [config.vni, config.port, config.mtu, config.listen, config.logLevel, config.logFormat],
      [1, 8472, 1400, "127.0.0.1:9999", "debug", "json"],
    );
    assert.deepEqual(config.masquerade, { enabled: false, exclude: ["192.168.0.0/16"] });
    assert.equal(config.directRouting, "auto");
    assert.equal(config.fastPath, "off");
    assert.equal(config.probes, "off");
    assert.equal(config.flows, "on");
    assert.equal(config.hostPorts, "portmap");
    assert.equal(config.bandwidth, "off");
    assert.equal(config.underlay.interface, "eth1");
    assert.equal(config.metrics.listen, "", "metrics are for the node itself unless they are asked for");
    const metrics = { enabled: true, port: 9475, tokenSecret: "x", allow: ["10.1.0.0/16"] };
    assert.deepEqual(configured({ metrics }).metrics, {
      listen: ":9475",
      allow: ["10.1.0.0/16"],
      tokenFile: "/etc/skylane-metrics/token",
    });
    assert.throws(() => configured({ metrics: { ...metrics, tokenSecret: "", allow: [] } }), /tokenFile/);
    assert.deepEqual(configured({ podCidrv6: "fd01::/56" }).clusterCidrs, ["fd01::/56"]);
  });

  it("passes every way to choose an underlay on to the agent", () => {
    const underlay = {
      interface: "eth1",
      interfaceRegexp: "eth.*",
      cidr: "10.9.0.0/16",
      canReach: "10.9.0.1",
      publicIp: "ExternalIP",
    };
    const { interfaceRegexp, ...chosen } = configured({ underlay }).underlay;
    assert.deepEqual({ ...chosen, interfaceRegexp: String(interfaceRegexp) }, underlay);
    assert.deepEqual(Object.keys(schema.properties["underlay"]?.properties ?? {}).sort(), Object.keys(underlay).sort());
  });

  it("has a schema that knows each value of the chart and takes the defaults", () => {
    const values = parse(chart("values.yaml")) as Record<string, unknown>;
    // for charts that have this one as a dependency
    assert.deepEqual(Object.keys(values).sort(), without(Object.keys(schema.properties), ["global", "enabled"]).sort());
    assert.deepEqual(faults(values), []);
    assert.deepEqual(faults({ ...values, global: { x: 1 }, enabled: true }), []);
  });

  it("takes values that the agent takes, and refuses those that it would refuse, before anything is installed", () => {
    const defaults = parse(chart("values.yaml")) as Record<string, unknown>;
    const cases: [Record<string, unknown>, boolean][] = [
      [{ podCidr: "10.244.0.0/16", podCidrv6: "fd00:10:244::/56" }, true],
      [{ podCidr: "hello" }, false],
      [{ podCidr: "10.244.0.1/16" }, false],
      [{ podCidr: "10.244.0.0" }, false],
      [{ podCidr: "10.244.0.0/33" }, false],
      [{ podCidr: "10.244.0.256/32" }, false],
      [{ podCidrv6: "fd00:10:244::/129" }, false],
      [{ podCidrv6: "g::/64" }, false],
      [{ serviceCidrs: ["10.96.0.0/16", "fd00::/112"] }, true],
      [{ serviceCidrs: ["10.96.0.1/16"] }, false],
      [{ serviceCidrs: "10.96.0.0/16" }, false],
      [{ serviceCidrs: Array.from({ length: 65 }, (_, i) => `10.${i}.0.0/16`) }, false],
      [{ masqueradeExclude: ["192.168.0.0/16"] }, true],
      [{ masqueradeExclude: ["192.168.0.1/16"] }, false],
      [{ masqueradeExclude: ["192.168.0.0"] }, false],
      [{ vni: 16_777_215 }, true],
      [{ vni: 0 }, false],
      [{ vni: 16_777_216 }, false],
      [{ vni: "x" }, false],
      [{ backendPort: 8472 }, true],
      [{ backendPort: 0 }, false],
      [{ backendPort: 65_536 }, false],
      [{ mtu: 1400 }, true],
      [{ mtu: "auto" }, true],
      [{ mtu: "1400" }, false],
      [{ mtu: 575 }, false],
      [{ mtu: 65_536 }, false],
      [{ directRouting: "auto" }, true],
      [{ directRouting: false }, false],
      [{ underlay: { interface: "eth1", interfaceRegexp: "eth.*", cidr: "10.9.0.0/16", canReach: "10.9.0.1" } }, true],
      [{ underlay: { interface: "an-interface-too-long" } }, false],
      [{ underlay: { interface: "eth%d" } }, false],
      [{ underlay: { interface: ".." } }, false],
      [{ underlay: { interfaceRegexp: "" } }, false],
      [{ underlay: { cidr: "10.9.0.1/16" } }, false],
      [{ underlay: { canReach: "10.9.0.0/16" } }, false],
      [{ underlay: { canReach: "gateway" } }, false],
      [{ underlay: { nic: "eth1" } }, false],
      [{ logLevel: "trace" }, false],
      [{ listenPort: 0 }, false],
      [{ metrics: { enabled: true, port: 9474, tokenSecret: "", allow: [] } }, false],
      [{ metrics: { enabled: true, port: 9474, tokenSecret: "prometheus", allow: [] } }, true],
      [{ metrics: { enabled: true, port: 9474, tokenSecret: "", allow: ["10.9.0.0/16"] } }, true],
      [{ metrics: { enabled: true, port: 9474, tokenSecret: "", allow: ["10.9.0.1/16"] } }, false],
    ];
    const refused = (values: Record<string, unknown>, find: () => unknown): boolean => {
      if (faults({ ...defaults, ...values }).length > 0) return true;
      try {
        find();
        return false;
      } catch (error) {
        assert.match(String(error), /host bits|allowed|refused|must/i, JSON.stringify(values));
        return true;
      }
    };
    for (const [values, right] of cases) {
      assert.equal(
        refused(values, () => renderChart(values)),
        !right,
        `the chart: ${JSON.stringify(values)}`,
      );
      if (faults({ ...defaults, ...values }).length === 0 && right) assert.ok(configured(values));
    }
    for (const values of [
      { cniBinDir: "opt" },
      { cniBinDir: "/opt/../etc" },
      { cniConfDir: "/etc//cni" },
      { netnsPropagation: "Bidirectional" },
      { directRoutes: "auto" },
    ])
      assert.notDeepEqual(faults({ ...defaults, ...values }), [], JSON.stringify(values));
    assert.deepEqual(
      faults({ ...defaults, cniBinDir: "/var/lib/rancher/k3s/data/cni", cniConfDir: "/etc/.cni/net.d/" }),
      [],
    );
  });

  const daemonSet = (values: Record<string, unknown> = {}) => {
    const set = documents(renderChart(values)).find(({ kind }) => kind === "DaemonSet");
    assert.ok(set?.spec);
    return { ...set, spec: set.spec };
  };

  it("takes no value that the agent would refuse, but for IPv6 prefixes that no expression can judge", function () {
    this.timeout(120_000);
    const cidr = fc.oneof(
      fc.constantFrom(
        "10.244.0.0/16",
        "fd00:244::/48",
        "::/0",
        "0.0.0.0/0",
        "10.0.0.0/33",
        "10.0/8",
        "::1::/64",
        "x",
        "",
      ),
      fc.tuple(fc.ipV4(), fc.nat(33)).map(([ip, bits]) => `${ip}/${bits}`),
      fc.tuple(fc.ipV6(), fc.nat(129)).map(([ip, bits]) => `${ip}/${bits}`),
    );
    const number = fc.oneof(
      fc.constantFrom(0, 1, 575, 576, 1280, 65_535, 65_536, 16_777_215, 16_777_216, 1.5, -1),
      fc.integer(),
    );
    const anything = fc.oneof(fc.jsonValue(), fc.string(), cidr);
    const values = fc.record(
      {
        podCidr: fc.oneof(cidr, anything),
        podCidrv6: fc.oneof(cidr, anything),
        serviceCidrs: fc.oneof(fc.array(cidr, { maxLength: 3 }), anything),
        vni: fc.oneof(number, anything),
        backendPort: fc.oneof(number, anything),
        mtu: fc.oneof(number, fc.constant("auto"), anything),
        masquerade: fc.oneof(fc.boolean(), anything),
        masqueradeExclude: fc.oneof(fc.array(cidr, { maxLength: 3 }), anything),
        logLevel: fc.oneof(fc.constantFrom("debug", "info", "warn", "error", "loud"), anything),
      },
      { requiredKeys: [] },
    );
    /** What no expression of a schema tells, as host bits, the templates refuse with `fail`. */
    const refusedByTemplates = (given: Record<string, unknown>): boolean => {
      try {
        renderChart(given);
        return false;
      } catch {
        return true;
      }
    };
    let taken = 0;
    fc.assert(
      fc.property(values, (given) => {
        const wrong = new Set(faults(given).map((path) => path.split("/")[1]));
        // What is left when the schema has had its say.
        const right = Object.fromEntries(Object.entries(given).filter(([key]) => !wrong.has(key)));
        if (faults(right).length > 0 || refusedByTemplates(right)) return;
        taken += Object.keys(right).length;
        try {
          configured(right);
        } catch (error) {
          // No expression tells whether bits behind an IPv6 prefix are set, nor whether it has groups enough.
          assert.match(String(error), /clusterCidrs|serviceCidrs|masquerade\.exclude/);
          assert.match(String(error), /"[^"]*:[^"]*:[^"]*"/);
        }
      }),
      { numRuns: 150 },
    );
    assert.ok(taken > 20, `${taken} values were tried`);
  });

  it("shows the agent's container the namespaces of pods that start later, unless the host's mounts are private", () => {
    const how = (values: Record<string, unknown> = {}) =>
      daemonSet(values).spec.template.spec.containers[0]?.volumeMounts.find(
        ({ mountPath }) => mountPath === "/run/netns",
      )?.mountPropagation;
    assert.equal(how(), "HostToContainer");
    assert.equal(how({ netnsPropagation: "None" }), "None");
  });

  it("gives the token to the agent's container alone, for an hour", () => {
    const { automountServiceAccountToken, initContainers, containers, volumes } = daemonSet().spec.template.spec;
    assert.equal(automountServiceAccountToken, false);
    const where = "/var/run/secrets/kubernetes.io/serviceaccount";
    const withToken = [...initContainers, ...containers].filter(({ volumeMounts }) =>
      volumeMounts.some(({ mountPath }) => mountPath === where),
    );
    assert.deepEqual(
      withToken.map(({ name }) => name),
      ["agent"],
    );
    const { projected } = volumes.find(({ name }) => name === "token") ?? {};
    const seconds = projected?.sources.map(({ serviceAccountToken }) => serviceAccountToken?.expirationSeconds ?? []);
    // 3607 would have API servers make one that lasts a year
    assert.deepEqual(seconds?.flat(), [3600]);
  });

  it("bounds what each container takes", () => {
    const { initContainers, containers } = daemonSet().spec.template.spec;
    for (const { name, resources } of [...initContainers, ...containers])
      for (const kind of ["requests", "limits"] as const)
        assert.deepEqual(Object.keys(resources[kind]).sort(), ["cpu", "memory"], `${kind} of ${name}`);
  });

  it("starts other agents when the settings are others, and only then", () => {
    const checksum = (values: Record<string, unknown>) =>
      daemonSet(values).spec.template.metadata.annotations?.["checksum/config"];
    assert.ok(checksum({}));
    assert.notEqual(checksum({ mtu: 1400 }), checksum({}));
    assert.notEqual(checksum({ podCidr: "10.1.0.0/16" }), checksum({}));
    assert.equal(checksum({ tolerations: [] }), checksum({}));
  });

  it("says after the installation how to look at it, and what nothing holds", () => {
    const notes = (values: Record<string, unknown>, kubernetes: string) =>
      renderChart(values, { namespace: "elsewhere", kubernetes, templates: ["NOTES"] });
    assert.match(notes({}, "1.36"), /kubectl -n elsewhere exec ds\/skylane/);
    assert.doesNotMatch(notes({}, "1.36"), /Nothing holds/);
    assert.match(notes({}, "1.29"), /Nothing holds the agents' tokens/);
    assert.match(notes({ admissionPolicy: false }, "1.36"), /Nothing holds/);
    assert.doesNotMatch(notes({ podCidr: "10.1.0.0/16" }, "1.36"), /No pod CIDR/);
  });

  it("passes on what a cluster wants of its pods", () => {
    const toleration = { key: "dedicated", operator: "Equal", value: "db", effect: "NoSchedule" };
    const set = daemonSet({
      tolerations: [toleration],
      nodeSelector: { "kubernetes.io/os": null, network: "skylane" },
      affinity: { nodeAffinity: {} },
      imagePullSecrets: [{ name: "registry" }],
      annotations: { a: "1" },
      podAnnotations: { b: "2" },
      podLabels: { c: "3" },
      priorityClassName: "system-cluster-critical",
      updateStrategy: { rollingUpdate: { maxUnavailable: 1 } },
      resources: { limits: { memory: "1Gi" } },
      seLinuxOptions: null,
      image: { digest: `sha256:${"0".repeat(64)}` },
    });
    const { metadata, spec } = set.spec.template;
    assert.equal(set.metadata.annotations?.["a"], "1");
    assert.equal(metadata.annotations?.["b"], "2");
    assert.deepEqual(metadata.labels, { "app.kubernetes.io/name": "skylane", c: "3" });
    assert.deepEqual(
      [
        spec["tolerations"],
        spec["nodeSelector"],
        spec["affinity"],
        spec["imagePullSecrets"],
        spec["priorityClassName"],
      ],
      [[toleration], { network: "skylane" }, { nodeAffinity: {} }, [{ name: "registry" }], "system-cluster-critical"],
    );
    assert.deepEqual(set.spec["updateStrategy"], { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } });
    assert.deepEqual(spec.containers[0]?.resources.limits, { cpu: "2", memory: "1Gi" });
    assert.deepEqual(spec["securityContext"], { seccompProfile: { type: "RuntimeDefault" } });
    assert.equal(spec.containers[0]?.image, `skylane@sha256:${"0".repeat(64)}`);
    const { spec: plain } = daemonSet().spec.template;
    assert.deepEqual((plain["securityContext"] as { seLinuxOptions: object }).seLinuxOptions, {
      level: "s0",
      type: "spc_t",
    });
    assert.deepEqual(plain["tolerations"], [{ operator: "Exists" }]);
  });

  it("gives the agent no more than it names: no privileged container, a read-only root, capabilities one by one", () => {
    const set = documents(manifest("skylane.yaml")).find(({ kind }) => kind === "DaemonSet");
    const { containers = [], initContainers = [], volumes = [] } = set?.spec?.template.spec ?? {};
    assert.deepEqual(
      [...initContainers, ...containers].map(({ name }) => name),
      ["install-cni", "agent"],
    );
    for (const { name, securityContext } of [...initContainers, ...containers]) {
      assert.equal(securityContext.privileged, undefined, name);
      assert.equal(securityContext.readOnlyRootFilesystem, true, name);
      assert.deepEqual(securityContext.capabilities.drop, ["ALL"], name);
    }
    const mounted = new Set(
      [...initContainers, ...containers].flatMap(({ volumeMounts }) => volumeMounts.map((m) => m.name)),
    );
    assert.deepEqual(
      [...mounted].sort(),
      volumes.map(({ name }) => name).sort(),
      "each volume is mounted, and none is missing",
    );
  });

  it("lets the agent do what Nodes, Events and pod networks need, and nothing else", () => {
    const rules = documents(manifest("skylane.yaml")).flatMap(({ rules = [] }) => rules);
    assert.deepEqual(
      rules.map(({ resources, resourceNames, verbs }) =>
        [resources.join(), ...(resourceNames ?? []), verbs.join()].join(" "),
      ),
      [
        "nodes get,list,watch",
        "nodes patch",
        "nodes/status patch",
        "podnetworks get,list,watch",
        "podnetworks patch",
        "podnetworks create",
        "podnetworks default update,delete",
        "podnetworks/status patch",
        "networkblocks get,list,watch,create,update,delete",
        "ipclaims get,list,watch",
        "ipclaims/status patch",
        "networkendpoints get,list,watch,create,update,delete",
        "egressgateways get,list,watch",
        "egressgateways/status patch",
        "pods,namespaces get",
        "networkpolicies get,list,watch",
        "clusternetworkpolicies get,list,watch",
        "pods,namespaces list,watch",
        "multi-networkpolicies,network-attachment-definitions get,list,watch",
        "customresourcedefinitions clusternetworkpolicies.policy.networking.k8s.io multi-networkpolicies.k8s.cni.cncf.io get,list,watch",
        "clusternetworkpolicies/status patch",
        "servicecidrs get,list",
        "services get,list,watch",
        "pods/status patch",
        "events create,patch",
        "leases get",
        "leases create",
        "leases skylane-networks get,update",
      ],
    );
  });

  it("has no right to make leases but in its own namespace, where they stand in nobody's way", () => {
    const roles = documents(renderChart({}, { namespace: "elsewhere" })).filter(({ kind }) => kind.endsWith("Role"));
    const withLeases = roles.filter(({ rules = [] }) => rules.some(({ resources }) => resources.includes("leases")));
    assert.deepEqual(
      withLeases.map(({ kind, metadata }) => [kind, metadata.namespace]),
      [
        ["Role", "kube-node-lease"],
        ["Role", "elsewhere"],
      ],
    );
    assert.deepEqual(
      withLeases[0]?.rules?.map(({ verbs }) => verbs),
      [["get"]],
    );
  });

  it("has policies and rules where the server knows them, and the same objects without them for older ones", () => {
    const kinds = (text: string): string[] => documents(text).map(({ kind }) => kind);
    const isPolicy = (kind: string): boolean => kind.startsWith("ValidatingAdmissionPolicy");
    const legacy = manifest("skylane-legacy.yaml");
    // kubectl refuses to send the field to a server before 1.25, and the kind to one before 1.30
    assert.doesNotMatch(legacy, /x-kubernetes-validations|ValidatingAdmissionPolicy/);
    assert.deepEqual(
      kinds(manifest("skylane.yaml")).filter((kind) => !isPolicy(kind)),
      kinds(legacy),
    );
    assert.ok(kinds(manifest("skylane.yaml")).some(isPolicy));
    assert.match(manifest("skylane.yaml"), /x-kubernetes-validations/);
    const has = (values: Record<string, unknown>, kubernetes: string, apis: string[] = []) => {
      const text = renderChart(values, { kubernetes, apis });
      return [kinds(text).some(isPolicy), /x-kubernetes-validations/.test(text)];
    };
    assert.deepEqual(has({}, "1.24"), [false, false]);
    assert.deepEqual(has({}, "1.25"), [false, true]);
    assert.deepEqual(has({}, "1.29"), [false, true]);
    assert.deepEqual(has({}, "1.29", ["admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"]), [true, true]);
    assert.deepEqual(has({}, "1.30"), [true, true]);
    assert.deepEqual(has({ admissionPolicy: false, celRules: false }, "1.36"), [false, false]);
    assert.deepEqual(has({ admissionPolicy: true, celRules: true }, "1.20"), [true, true]);
  });

  it("defines the same custom resources in each file, with rules and without", () => {
    const defined = (file: string) =>
      documents(manifest(file)).filter(({ kind }) => kind === "CustomResourceDefinition");
    const withoutRules = (_key: string, value: unknown): unknown =>
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).filter(([key]) => key !== "x-kubernetes-validations"))
        : value;
    assert.deepEqual(JSON.parse(JSON.stringify(defined("skylane.yaml"), withoutRules)), defined("skylane-legacy.yaml"));
    assert.deepEqual(JSON.parse(JSON.stringify(defined("crds.yaml"), withoutRules)), defined("skylane-legacy.yaml"));
    const names = defined("skylane.yaml").map(({ metadata }) => metadata.name.split(".")[0]);
    assert.deepEqual(
      new Set(names),
      new Set(["egressgateways", "ipclaims", "networkblocks", "networkendpoints", "podnetworks"]),
    );
  });

  it("has the API server hold everybody to what may not change", () => {
    const rules = [...manifest("crds.yaml").matchAll(/rule: (.*)/g)].map(([, rule]) => rule ?? "").join("\n");
    for (const key of ["vni", "cidrs", "mode", "network", "cidr", "node", "ips", "mac"])
      assert.match(rules, new RegExp(`self\\.${key} == oldSelf\\.${key}\\b`));
    assert.equal(
      [...rules.matchAll(/self\[0\]\.contains\(':'\) != self\[1\]/g)].length,
      2,
      "one CIDR a family, and one address",
    );
  });

  it("keeps everybody's networks when the chart is uninstalled", () => {
    const kept = documents(manifest("skylane.yaml")).filter(({ kind }) => kind === "CustomResourceDefinition");
    for (const { metadata } of kept)
      assert.equal(metadata.annotations?.["helm.sh/resource-policy"], "keep", metadata.name);
  });

  it("refuses what the renderer does not understand rather than render it wrongly", () => {
    const render = (text: string, scope: object) => new Templates({ x: text }).render("x", scope);
    assert.throws(() => render("{{ lookup .Values.x }}", { Values: { x: [] } }), /not understood.*lookup/);
    assert.throws(() => render("{{ .Values.missing }}", { Values: {} }), /no \.Values\.missing/);
    assert.throws(() => render("{{ if .Values.x }}", { Values: { x: 1 } }), /no \{\{ end \}\}/);
    assert.throws(() => render("{{ end }}", {}), /of nothing/);
    assert.throws(() => render("{{ .Values.x }}", { Values: { x: [1] } }), /toYaml/);
  });
});
