/** What operators look with, from a machine of their own: `kubectl skylane`, through the real API server into the agents' containers. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Trace } from "../../../src/cli/index.ts";
import type { Live } from "../../../src/cli/trace/live/types.ts";
import type { ServiceTrace } from "../../../src/cli/trace/kubectl.ts";
import type { Context } from "../support/context.ts";
import { needs } from "../support/context.ts";
import { eventually, TEST_NAMESPACE, type TestPod } from "../support/kube.ts";
import { Operator } from "../support/operator.ts";

const PORT = 7000;
const run = promisify(execFile);

export function seeingPart(context: Context): void {
  describe("from an operator's machine", () => {
    let operator: Operator;
    let [from, to] = [] as unknown as [TestPod, TestPod];
    const nameOf = ({ name }: TestPod): string => `${TEST_NAMESPACE}/${name}`;

    const plugin = (...args: string[]): Promise<string> => operator.plugin(...args);

    /** A trace as JSON; a busy machine may take its time to answer. */
    const trace = (...args: string[]): Promise<string> => plugin("trace", ...args, "--timeout", "10000", "-o", "json");
    /** The same with marked packets, whatever comes of it. */
    const live = async (...args: string[]): Promise<{ text: string; live: Live }> => {
      const text = await trace(nameOf(from), nameOf(to), "--live", ...args).catch((error: unknown) => {
        const { stdout, stderr } = error as { stdout: string; stderr: string };
        return stdout || assert.fail(stderr);
      });
      return { text, live: (JSON.parse(text) as { live: Live }).live };
    };

    before(() => {
      operator = new Operator(context.machine);
      [from, to] = [context.pods[0], context.pods.at(-1)] as [TestPod, TestPod];
      assert.notEqual(from.node, to.node);
    });
    after(async () => {
      operator[Symbol.dispose]();
      await context.kube.kubectl("delete", "service", "-n", TEST_NAMESPACE, "seen", "--ignore-not-found");
    });

    it("follows a packet from pod to pod over both nodes, in each family", async () => {
      for (const family of new Set(from.ips.map((ip) => (ip.includes(":") ? "6" : "4")))) {
        const text = await trace(nameOf(from), nameOf(to), "--family", family, "--port", String(PORT));
        const { ok, whole, hops } = JSON.parse(text) as Trace;
        assert.ok(ok && whole, text);
        assert.deepEqual([...new Set(hops.map(({ node }) => node))], [from.node, to.node]);
        // The tunnel's own entries are seen from the agent's container.
        const seen = hops.filter(({ state }) => state === "ok").map(({ hop }) => hop);
        for (const hop of ["peer", "route", "neighbour", "fdb", "tunnel", "agreement", "firewall", "destination.route"])
          assert.ok(seen.includes(hop), `${hop}: ${text}`);
        // So is the inside of pods that are younger than that container.
        for (const hop of ["pod.link", "pod.address", "pod.route", "destination.link", "destination.address"])
          assert.ok(seen.includes(hop), `${hop}: ${text}`);
      }
    });

    it("sends marked packets and follows them and their answers through both nodes, in each family", async () => {
      for (const family of new Set(from.ips.map((ip) => (ip.includes(":") ? "6" : "4"))))
        for (const traffic of [[], ["--port", String(PORT)]]) {
          const { text, live: way } = await live("--family", family, ...traffic);
          assert.ok(way.ok && way.arrived && way.answered, text);
          assert.equal(way.missing, undefined, "both nodes have watched, from their agents' containers");
          for (const { hop, packets, note = "" } of way.hops) {
            assert.notEqual(packets, undefined, `${hop}: ${text}`);
            // Programs make and take off the tunnel's header where the kernel can have a fast path.
            if (packets === 0) assert.match(`${hop} ${note}`, /(tunnel|underlay) .*unseen/, text);
          }
          assert.deepEqual([...new Set(way.hops.map(({ node }) => node))].sort(), [from.node, to.node].sort());
        }
    });

    it("names the rule that drops them, whoever has made it, and leaves nothing behind", async function () {
      const { hardware: machine } = context.machine;
      needs(this, machine, "access to its machines");
      if (!machine) return;
      const rules =
        "table inet someone { chain in { type filter hook forward priority -5; meta l4proto icmp drop; }; }";
      await machine.at(to.node, ["nft", rules]);
      try {
        const { live: way } = await live("--family", "4");
        assert.match(way.is, new RegExp(`packet filter of ${to.node} drops it in chain in of table inet someone`));
      } finally {
        await machine.at(to.node, ["nft", "delete table inet someone"]);
      }
      for (const { node } of [from, to])
        assert.doesNotMatch(await machine.at(node, ["nft", "list tables"]), /skylane_trace/);
    });

    it("follows a packet to the pods behind a Service, and sees what kube-proxy made of it", async () => {
      const { kube } = context;
      await kube.kubectl("label", "pod", "-n", TEST_NAMESPACE, to.name, "seen=yes", "--overwrite");
      await kube.apply({
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "seen", namespace: TEST_NAMESPACE },
        spec: { selector: { seen: "yes" }, ports: [{ port: 80, targetPort: PORT, protocol: "TCP" }] },
      });
      const { clusterIP } = (await kube.get("service", "seen", "-n", TEST_NAMESPACE)).spec as { clusterIP?: string };
      const text = await eventually(
        async () => {
          await kube.probe(from.name, "tcp", clusterIP as string, 80);
          const said = await trace(nameOf(from), `${TEST_NAMESPACE}/svc/seen`);
          const { ok, traces } = JSON.parse(said) as ServiceTrace;
          assert.ok(ok && traces.length === 1, said);
          return said;
        },
        { timeoutMs: 120_000 },
      );
      const [{ backend, trace: way }] = (JSON.parse(text) as ServiceTrace).traces as [ServiceTrace["traces"][number]];
      assert.ok(to.ips.includes(backend.ip) && backend.port === PORT, text);
      const hop = way?.hops.find((one) => one.hop === "source.service");
      assert.ok(hop?.is.includes(`${backend.ip}:${PORT}`), JSON.stringify(hop));
    });

    it("names the policy that denies it", async () => {
      await context.kube.apply({
        apiVersion: "networking.k8s.io/v1",
        kind: "NetworkPolicy",
        metadata: { name: "closed", namespace: TEST_NAMESPACE },
        spec: { podSelector: { matchLabels: { seen: "yes" } }, policyTypes: ["Ingress"] },
      });
      try {
        await eventually(
          async () => {
            const failed = await trace(nameOf(from), nameOf(to), "--port", String(PORT)).then(
              () => assert.fail("nothing is wrong"),
              (error: unknown) => error as { stdout: string },
            );
            const { wrong } = JSON.parse(failed.stdout) as Trace;
            assert.deepEqual([wrong?.node, wrong?.hop], [to.node, "policy.ingress"]);
            return true;
          },
          { timeoutMs: 120_000 },
        );
      } finally {
        await context.kube.kubectl("delete", "networkpolicy", "-n", TEST_NAMESPACE, "closed");
      }
    });

    it("takes what all nodes have to say into one archive", async () => {
      const file = join(operator.dir, "dump.tar.gz");
      assert.equal((await plugin("sysdump", "--output", file)).trim(), file);
      const names = (await run("tar", ["-tzf", file], { maxBuffer: 1 << 26 })).stdout.split("\n");
      for (const node of context.nodes)
        for (const part of ["status.json", "doctor"])
          assert.ok(
            names.some((name) => name.includes(`/${node}/`) && name.includes(part)),
            `${node} ${part}: ${names.join(" ")}`,
          );
      assert.ok(names.some((name) => name.endsWith("podnetworks.json")));
    });
  });
}
