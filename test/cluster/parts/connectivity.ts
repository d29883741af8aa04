/** `kubectl skylane connectivity test` on a cluster that is whole, and on one that loses packets in one direction between two nodes. */
import assert from "node:assert/strict";
import type { Report } from "../../../src/cli/connectivity/judge.ts";
import { type Context, needs } from "../support/context.ts";
import { eventually } from "../support/kube.ts";
import { Operator } from "../support/operator.ts";

const OURS = "app.kubernetes.io/managed-by=skylane-connectivity-test";
const TABLE = "lossy";
const EVERYWHERE = [
  "pod-pod-here",
  "pod-pod-tcp",
  "pod-pod-udp",
  "pod-pod-full",
  "pod-pod-over",
  "node-pod",
  "pod-node",
  "pod-node-here",
  "pod-service",
  "node-service",
  "policy-allow",
  "policy-deny",
];

export function connectivityPart(context: Context): void {
  describe("a connectivity test", () => {
    let operator: Operator;
    before(() => (operator = new Operator(context.machine)));
    after(() => operator[Symbol.dispose]());

    /** Runs it, however it ends. */
    const test = async (): Promise<{ report: Report; text: string }> => {
      const text = await operator
        .plugin("connectivity", "test", "-o", "json")
        .catch((error: unknown) => (error as { stdout?: string }).stdout || assert.fail(String(error)));
      return { report: JSON.parse(text) as Report, text };
    };
    /** A kubelet under load takes longer for its pods than the test waits for them; then they go by themselves. */
    const nothingIsLeft = (): Promise<true> =>
      eventually(
        async () => {
          const left = await context.kube.kubectl("get", "namespaces", "-l", OURS, "-o", "name");
          assert.equal(left, "");
          return true;
        },
        { timeoutMs: 300_000 },
      );

    it("finds everything whole, in each family, and leaves nothing behind", async () => {
      const { nodes, pods } = context;
      const { report, text } = await test();
      assert.deepEqual([report.failures, report.notes, report.ok, report.nodes], [[], [], true, nodes.length], text);
      const families = new Set(pods.flatMap(({ ips }) => ips).map((ip) => (ip.includes(":") ? 6 : 4)));
      for (const kind of EVERYWHERE)
        for (const family of families) {
          const row = report.rows.find((one) => one.kind === kind && one.family === family);
          assert.ok(row && row.passed >= nodes.length, `${kind} ${family}: ${text}`);
        }
      assert.ok(report.rows.find(({ kind }) => kind === "api")?.passed, text);
      await nothingIsLeft();
    });

    it("says between which nodes, and in which direction, packets are lost", async function () {
      const { kube, machine, nodes } = context;
      needs(this, machine.hardware, "access to its machines");
      const [from, to] = nodes as [string, string];
      const cidrs = await Promise.all(
        [from, to].map(async (name) =>
          (await kube.get("node", name)).spec.podCIDRs?.find((cidr) => !cidr.includes(":")),
        ),
      );
      const rules = [
        `add table ip ${TABLE}`,
        // Before connection tracking, which would hold datagrams for answered that are dropped behind it.
        `add chain ip ${TABLE} arriving { type filter hook prerouting priority -300; }`,
        `add rule ip ${TABLE} arriving ip saddr ${cidrs[0]} ip daddr ${cidrs[1]} drop`,
      ];
      await machine.hardware?.at(to, ["nft", rules.join("; ")]);
      try {
        const { report, text } = await test();
        const pairs = report.failures.filter(({ kinds }) => kinds.some((kind) => kind.startsWith("pod-pod-")));
        assert.deepEqual(
          pairs.map(({ what }) => what),
          [`packets of pods from ${from} to ${to} are lost, IPv4: TCP, UDP, full packets, packets in pieces`],
          text,
        );
        assert.ok(!report.ok && pairs[0]?.traced !== undefined, text);
        // Nothing is said of others: whatever else fails is about these two.
        assert.ok(
          report.failures.every(
            (failure) => failure.family === 4 && failure.nodes.every((node) => [from, to].includes(node)),
          ),
          text,
        );
        await nothingIsLeft();
      } finally {
        await machine.hardware?.at(to, ["nft", "delete", "table", "ip", TABLE]);
      }
    });
  });
}
