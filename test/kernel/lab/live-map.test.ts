/** The live map of a lab, by its stream: what there is, what comes, what moves, what is repaired, and a node that dies. */
import assert from "node:assert/strict";
import type { LiveMap } from "../../../src/cli/index.ts";
import { eventually } from "../../support/eventually.ts";
import { MapReader } from "../../support/map-reader.ts";
import { useLab } from "./support.ts";

describe("the live map of a lab", () => {
  const the = useLab({ nodes: 3, agentConfig: { probes: "on" } });
  let map: LiveMap;
  let reader: MapReader;

  before("the map is shown", async () => {
    map = await the().show();
    reader = await MapReader.open(map.url);
  });
  after("the map ends", async () => {
    await reader?.[Symbol.asyncDispose]();
    await map?.close();
  });

  const happened = (kind: string, subject: string, text: RegExp): boolean =>
    reader.mirror.moments.some((one) => one.kind === kind && one.subject === subject && text.test(one.text));

  it("is a page that needs nobody else", async () => {
    const response = await fetch(map.url);
    const page = await response.text();
    assert.match(response.headers.get("content-security-policy") ?? "", /default-src 'none'/);
    for (const [, url] of page.matchAll(/(?:src|href)="([^"]*)"/g))
      assert.doesNotMatch(url as string, /^(https?:)?\/\//);
    for (const file of ["page.js", "page.css"]) assert.equal((await fetch(`${map.url}${file}`)).status, 200);
  });

  it("shows nodes with their VTEPs, the network, and what nodes measure of each other", async () => {
    const { mirror } = reader;
    await eventually(() => mirror.order.length === 3 && mirror.order.every(({ state }) => state === "ready"));
    assert.deepEqual(
      mirror.order.map(({ name }) => name),
      ["node1", "node2", "node3"],
    );
    for (const { name, vteps } of mirror.order) {
      const status = await the().status(the().node(name));
      assert.equal(vteps[0]?.mac, status.networks[0]?.mac);
      assert.equal(vteps[0]?.vni, the().context.record.vni);
    }
    await eventually(
      () => mirror.order.every((a) => mirror.order.every((b) => a === b || mirror.cell(a, b).state === "answers")),
      { timeoutMs: 60_000, message: "each node answers each other" },
    );
  });

  it("shows a pod that comes, one that moves, and one that goes", async () => {
    const { mirror } = reader;
    // One with an object, and one of the kind that only a lab has.
    await the().addPod("node1", "web", { labels: { app: "web" } });
    await the().addPod("node2", "plain");
    const web = await eventually(() => {
      const pod = mirror.pods.get("default/web");
      return pod?.ips.length === 2 ? pod : undefined;
    });
    assert.equal(web.node, "node1");
    assert.deepEqual(web.ips, the().pod("web").ips);
    await eventually(() => mirror.pods.get("default/plain")?.node === "node2");
    assert.ok(happened("pod", "default/web", /has come/));
    await the().movePod("plain", "node3");
    await eventually(() => mirror.pods.get("default/plain")?.node === "node3");
    assert.deepEqual(
      mirror.pods.get("default/plain")?.was.map(({ node }) => node),
      ["node2"],
    );
    assert.ok(happened("pod", "default/plain", /moved from node2 to node3/));
    await the().deletePod("web");
    await eventually(() => mirror.pods.get("default/web")?.gone !== undefined);
  });

  it("shows what was repaired", async () => {
    const { repairedMs } = await the().drift("node1", { kind: "fdb" });
    assert.ok(repairedMs !== undefined);
    await eventually(() => happened("repair", "node1", /put back: .*fdb/));
  });

  it("shows a node that dies, to who looks and to who comes later", async () => {
    await the().killNode("node2");
    await eventually(() => reader.mirror.nodes.get("node2")?.state === "silent");
    assert.ok(happened("node", "node2", /does not answer/));
    await using later = await MapReader.open(map.url);
    assert.equal(later.mirror.nodes.get("node2")?.state, "silent");
    // What the others measure of it comes with their next answers.
    await eventually(
      () => {
        const [one, two] = [reader.mirror.nodes.get("node1"), reader.mirror.nodes.get("node2")];
        return one && two && ["down", "silent"].includes(reader.mirror.cell(one, two).state);
      },
      { timeoutMs: 60_000, message: "node1 finds that node2 does not answer" },
    );
    await the().restartNode("node2");
    await eventually(() => reader.mirror.nodes.get("node2")?.state === "ready", { timeoutMs: 60_000 });
    assert.equal(reader.failure, undefined);
  });
});
