/** Egress gateways of pod networks: tenants with the same addresses, of which each leaves the cluster behind its own. */
import assert from "node:assert/strict";
import { PRIMARY_ANNOTATION } from "../../../src/crd/index.ts";
import { POLICY_FOR_ANNOTATION } from "../../../src/policy/index.ts";
import { eventually } from "../../support/eventually.ts";
import { OUTSIDE, useOutside } from "./outside.ts";
import { define, inStep, useLab } from "./support.ts";

const GATEWAYS = "/apis/skylane.dev/v1alpha1/egressgateways";
const MERGE = "application/merge-patch+json";
/** The first two have the same addresses, on a node that is no gateway; the third is on a gateway. */
const TENANTS = ["blue", "green", "red"] as const;
type Tenant = (typeof TENANTS)[number];
const EGRESS: Readonly<Record<Tenant, { 4: string; 6: string }>> = {
  blue: { 4: "172.30.0.101", 6: "fd30::101" },
  green: { 4: "172.30.0.102", 6: "fd30::102" },
  red: { 4: "172.30.0.103", 6: "fd30::103" },
};
const FAMILIES = [4, 6] as const;

/** Waits until an assertion holds. */
const comes = (check: () => Promise<void>): Promise<true> =>
  eventually(async () => {
    await check();
    return true as const;
  });

describe("egress gateways of pod networks", () => {
  const the = useLab({ nodes: 3, agentConfig: { serviceCidrs: ["10.96.0.0/12"], fastPath: "auto" } });
  const { talk, seenOf, sees } = useOutside(the);
  const selected = { labels: { app: "worker" } };
  const of = (network: Tenant, labels?: Record<string, string>) => ({
    annotations: { [PRIMARY_ANNOTATION]: network },
    ...(labels && { labels }),
  });
  const nodeOf = (network: Tenant): string => (network === "red" ? "node2" : "node1");
  const create = (network: Tenant): Promise<unknown> =>
    the().api.call("POST", GATEWAYS, {
      apiVersion: "skylane.dev/v1alpha1",
      kind: "EgressGateway",
      metadata: { name: `out-${network}` },
      spec: {
        network,
        podSelector: { matchLabels: selected.labels },
        nodeSelector: { matchLabels: { egress: "yes" } },
        egressAddresses: [EGRESS[network][4], EGRESS[network][6]],
      },
    });
  interface Gateway {
    status?: {
      addresses?: { address: string; node: string }[];
      pods?: number;
      conditions?: { status: string; reason: string; message: string }[];
    };
  }
  const statusOf = async (network: Tenant): Promise<NonNullable<Gateway["status"]>> =>
    (await the().api.call<Gateway>("GET", `${GATEWAYS}/out-${network}`)).status ?? {};
  const holder = (network: Tenant, family: 4 | 6): Promise<string> =>
    eventually(
      async () => (await statusOf(network)).addresses?.find(({ address }) => address === EGRESS[network][family])?.node,
      { message: `nobody has ${EGRESS[network][family]}` },
    );
  const inNetns = (node: string, network: Tenant, ...argv: string[]): Promise<string> =>
    the().exec(node, "ip", "netns", "exec", `sky-${network}`, ...argv);
  /** Addresses of the node that stand for a network's pods. */
  const transits = async (node: string): Promise<string[]> => {
    const { metadata } = await the().api.call<{ metadata: { annotations?: Record<string, string> } }>(
      "GET",
      `/api/v1/nodes/${node}`,
    );
    const said = JSON.parse(metadata.annotations?.["skylane.dev/egress"] ?? "[]") as { via: string }[];
    return said.map(({ via }) => via);
  };
  const faults = async (node: string): Promise<unknown> => (await the().status(the().node(node))).egress?.faults;

  before("two tenants with the same addresses on a node that is no gateway, and one pod on a gateway", async () => {
    for (const node of ["node2", "node3"])
      await the().api.call("PATCH", `/api/v1/nodes/${node}`, { metadata: { labels: { egress: "yes" } } }, MERGE);
    for (const name of TENANTS) {
      // Of a network of one block there is no choice: the pods have the same addresses.
      await the().addNetwork(name, { cidrs: ["10.50.0.0/28", "fd50::/124"], blockSize: 16, masquerade: true });
      await the().addPod(nodeOf(name), `${name}1`, of(name, selected.labels));
    }
    await the().addPod("node1", "plain", of("blue"));
    // Selected by its labels, but the gateways are about other networks.
    await the().addPod("node1", "ordinary", selected);
  });

  it("lead each tenant's pods out behind its own addresses, and no others", async () => {
    assert.deepEqual(the().ipsOf("blue1", "net1"), the().ipsOf("green1", "net1"));
    assert.equal(await seenOf("blue1", 4), "172.30.0.11");
    for (const name of TENANTS) await create(name);
    for (const name of TENANTS) for (const family of FAMILIES) await sees(`${name}1`, family, EGRESS[name][family]);
    for (const name of ["plain", "ordinary"]) assert.equal(await seenOf(name, 4), "172.30.0.11");
    for (const node of ["node1", "node2"]) await comes(async () => assert.deepEqual(await faults(node), []));
  });

  it("say which pods leave how, on the object and on the node", async () => {
    await comes(async () => assert.equal((await statusOf("blue")).pods, 1));
    const { egress } = await the().status(the().node("node1"));
    for (const name of ["blue", "green"] as const) {
      const pods = egress?.gateways.find(({ gateway }) => gateway === `out-${name}`)?.pods ?? [];
      assert.deepEqual(
        new Set(pods.map(({ pod, address }) => `${pod} ${address}`)),
        new Set(FAMILIES.map((family) => `default/${name}1 ${EGRESS[name][family]}`)),
      );
      assert.equal(pods.length, 2);
    }
    assert.equal((await transits("node1")).length, 4);
  });

  it("have the way of a pod that comes in place when its ADD is answered", async () => {
    await the().addPod("node1", "blue3", of("blue", selected.labels));
    const ips = the().ipsOf("blue3", "net1");
    for (const ip of ips) {
      const family = ip.includes(":") ? 6 : 4;
      const map = await inNetns("node1", "blue", "nft", "list", "map", "inet", "skylane_egress", `pods${family}`);
      assert.ok(map.includes(`${ip} : goto`), `${ip} has no way yet`);
    }
    // Other nodes know the transit already.
    assert.equal(await seenOf("blue3", 4), EGRESS.blue[4]);
    await the().deletePod("blue3");
  });

  it("are repaired, whatever of them somebody takes away", async () => {
    const [via] = (await transits("node1")).filter((ip) => !ip.includes(":"));
    const route = (): Promise<string> => the().exec("node1", "ip", "route", "show", `${via}/32`);
    const [dev = ""] = /dev (\S+)/.exec(await route())?.slice(1) ?? [];
    const changes: [() => Promise<unknown>, () => Promise<boolean>][] = [
      [
        () => inNetns("node1", "blue", "nft", "delete", "table", "inet", "skylane_egress"),
        async () => (await inNetns("node1", "blue", "nft", "list", "tables")).includes("skylane_egress"),
      ],
      [
        () => inNetns("node1", "green", "nft", "flush", "chain", "inet", "skylane_egress", "postrouting"),
        async () =>
          (await inNetns("node1", "green", "nft", "list", "chain", "inet", "skylane_egress", "postrouting")).includes(
            "vmap",
          ),
      ],
      [() => the().exec("node1", "ip", "route", "del", `${via}/32`), async () => /skyout/.test(await route())],
      [() => the().exec("node1", "ip", "link", "del", dev), async () => /skyout/.test(await route())],
    ];
    for (const [change, whole] of changes) {
      await change();
      await eventually(whole, { message: String(change), timeoutMs: 30_000 });
    }
    for (const name of TENANTS) for (const family of FAMILIES) await sees(`${name}1`, family, EGRESS[name][family]);
  });

  it("are no way in, whoever knows a transit", async () => {
    for (const ip of (await transits("node1")).filter((one) => !one.includes(":")))
      await assert.rejects(the().exec("node3", "ping", "-n", "-c1", "-W1", ip));
  });

  it("leave a tenant's policies in force, which see the pod's own address", async () => {
    await define(the(), {
      group: "k8s.cni.cncf.io",
      version: "v1beta1",
      plural: "multi-networkpolicies",
      kind: "MultiNetworkPolicy",
      scope: "Namespaced",
      status: false,
    });
    const path = "/apis/k8s.cni.cncf.io/v1beta1/namespaces/default/multi-networkpolicies";
    await the().api.call("POST", path, {
      apiVersion: "k8s.cni.cncf.io/v1beta1",
      kind: "MultiNetworkPolicy",
      metadata: { name: "no-way-out", annotations: { [POLICY_FOR_ANNOTATION]: "blue" } },
      spec: { podSelector: { matchLabels: selected.labels }, policyTypes: ["Egress"], egress: [] },
    });
    for (const family of FAMILIES) await sees("blue1", family, "nobody");
    for (const family of FAMILIES) assert.equal(await seenOf("green1", family), EGRESS.green[family]);
    await the().api.call("DELETE", `${path}/no-way-out`);
    for (const family of FAMILIES) await sees("blue1", family, EGRESS.blue[family]);
  });

  it("go on after a restart of the agent with the same transits", async () => {
    const before = await transits("node1");
    const lost = async (): Promise<void> => {
      const report = await the().execInPod("blue1", "ping", "-n", "-q", "-c100", "-i0.05", "-W2", OUTSIDE[4]);
      assert.match(report, / 100 received/);
    };
    const pinged = lost();
    await the().exec("node1", "sh", "-c", "kill -TERM $(pgrep -of skylane-agent.cjs)");
    await pinged;
    await inStep(the());
    for (const name of TENANTS) await sees(`${name}1`, 4, EGRESS[name][4]);
    assert.deepEqual(await transits("node1"), before);
  });

  it("say so where their network leads nowhere", async () => {
    const networks = "/apis/skylane.dev/v1alpha1/podnetworks/green";
    const set = (masquerade: boolean): Promise<unknown> =>
      the().api.call("PATCH", networks, { spec: { masquerade } }, MERGE);
    await set(false);
    await comes(async () => {
      const [ready] = (await statusOf("green")).conditions ?? [];
      assert.equal(ready?.reason, "NetworkWithoutWayOut");
    });
    await comes(async () => assert.match(await seenOf("green1", 4), /^(nobody|ENETUNREACH)$/));
    await set(true);
    await sees("green1", 4, EGRESS.green[4]);
  });

  it("keep a pod's connection when the node that has its address dies, and the other one takes it", async () => {
    const dead = await holder("green", 4);
    const said = talk("green1", OUTSIDE[4]);
    await eventually(() => said().length > 3, { message: "a connection is not answered" });
    await the().killNode(dead);
    await eventually(async () => (await holder("green", 4)) !== dead, { message: `${dead} still has the address` });
    await sees("green1", 4, EGRESS.green[4]);
    const at = said().length;
    await eventually(() => said().length > at, { message: "the connection from before is answered no more" });
    for (const family of FAMILIES) await sees("blue1", family, EGRESS.blue[family]);
    // Its pods, of which none is asked any more, do not come back.
    await the().restartNode(dead, { pods: false });
  });

  it("leave nothing when they are deleted, and pods leave behind their node's address again", async () => {
    for (const name of TENANTS) await the().api.call("DELETE", `${GATEWAYS}/out-${name}`);
    for (const name of ["blue", "green"]) await sees(`${name}1`, 4, "172.30.0.11");
    await comes(async () => assert.deepEqual(await transits("node1"), []));
    for (const name of ["blue", "green"] as const)
      await eventually(async () => !(await inNetns("node1", name, "nft", "list", "tables")).includes("skylane_egress"));
    await eventually(async () => !(await the().exec("node1", "nft", "list", "tables")).includes("skylane_egress"));
    await eventually(async () => !/10\.244\.\S+ dev skyout/.test(await the().exec("node1", "ip", "route")));
  });
});
