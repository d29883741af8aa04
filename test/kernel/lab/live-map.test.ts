/** The live map of a lab, by its stream: what there is, what comes, what moves, what is repaired, and a node that dies. */
import assert from "node:assert/strict";
import { serveMany } from "../../../bench/simulator/map-nodes.ts";
import { CHROMIUM } from "../../../bench/support/chromium.ts";
import { Talk } from "../../../lab/pods/talk.ts";
import type { LiveMap } from "../../../src/cli/index.ts";
import { MOST_CELLS } from "../../../src/cli/ui/page/paint.ts";
import type { MapTrace } from "../../../src/cli/ui/wire.ts";
import { eventually } from "../../support/eventually.ts";
import { MapReader } from "../../support/map-reader.ts";
import { Visitor } from "./live-map-page.ts";
import { useLab } from "./support.ts";

/** Clicks into the matrix as soon as some of it is painted and some is not. */
const CLICK_WHILE_PAINTED = `(() => {
  const canvas = document.querySelector(".matrix canvas");
  const side = canvas.clientWidth;
  const at = { offsetX: (499.5 / 999) * side, offsetY: (1.5 / 999) * side };
  new MutationObserver((_, observer) => {
    if (["0", "999"].includes(canvas.dataset.left)) return;
    observer.disconnect();
    canvas.dataset.clicked = "";
    for (const type of ["pointermove", "pointerdown", "pointerup"]) {
      const event = new PointerEvent(type, { bubbles: true });
      for (const name of Object.keys(at)) Object.defineProperty(event, name, { value: at[name] });
      canvas.dispatchEvent(event);
    }
  }).observe(canvas, { attributeFilter: ["data-left"] });
})()`;

describe("the live map of a lab", () => {
  const the = useLab({ nodes: 3, agentConfig: { probes: "on", flows: "on" } });
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

  it("shows who talks to whom, and makes the trace between two pods", async () => {
    await the().addPod("node1", "client", { labels: { app: "client" } });
    await the().addPod("node3", "server", { labels: { app: "server" } });
    await eventually(() =>
      ["client", "server"].every((name) => reader.mirror.pods.get(`default/${name}`)?.ips.length === 2),
    );
    const [ip] = the().pod("server").ips as [string];
    await using server = await Talk.answering(the().context, the().pod("server"), 8080);
    await using talk = await Talk.connected(the().context, the().pod("client"), ip, 8080);
    assert.ok(server && talk);
    const flow = await eventually(() =>
      [...reader.mirror.flows.values()].find(({ destination }) => destination.ip === ip && destination.port === 8080),
    );
    assert.deepEqual(
      [flow.verdict, flow.source.pod, flow.destination.pod, flow.by],
      ["allowed", "default/client", "default/server", "node1"],
    );
    const ask = async (from: string, to: string): Promise<MapTrace> =>
      (await (await fetch(`${map.url}trace?from=${from}&to=${to}`)).json()) as MapTrace;
    await eventually(async () => (await ask("default/client", "default/server")).trace?.ok, { timeoutMs: 60_000 });
    assert.match((await ask("default/client", "default/nobody")).error ?? "", /no pod "default\/nobody" runs/);
  });

  it("shows what a policy has denied, and which", async () => {
    await the().applyPolicies(
      JSON.stringify({
        apiVersion: "networking.k8s.io/v1",
        kind: "NetworkPolicy",
        metadata: { name: "closed", namespace: "default" },
        spec: { podSelector: { matchLabels: { app: "server" } }, policyTypes: ["Ingress"] },
      }),
    );
    const [ip] = the().pod("server").ips as [string];
    const flow = await eventually(
      async () => {
        await the().execInPod("client", "bash", "-c", `echo hello >/dev/udp/${ip}/5354`);
        return [...reader.mirror.flows.values()].find(
          // To the near node it is an allowed one.
          ({ verdict, destination }) => verdict === "denied" && destination.port === 5354,
        );
      },
      { timeoutMs: 60_000, intervalMs: 200, message: "the map has what was denied" },
    );
    assert.deepEqual(
      [flow.verdict, flow.source.pod, flow.destination.pod, flow.by],
      ["denied", "default/client", "default/server", "node3"],
    );
    assert.match(flow.policy ?? "", /closed/);
    await eventually(() =>
      reader.mirror.moments.some(({ kind, text }) => kind === "flow" && /denied to .* by/.test(text)),
    );
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

  describe("in a browser", function () {
    this.timeout(600_000);
    // Without one: apt-get install chromium, or node scripts/setup.mjs browser.
    const where = CHROMIUM === undefined ? it.skip : it;
    const unless = CHROMIUM === undefined ? " (no chromium in PATH)" : "";

    where(
      `draws nodes, a pod that moves, what was denied and a node that dies, and asks nobody else${unless}`,
      async () => {
        await using visitor = await Visitor.open(map.url);
        const { page } = visitor;
        await page.waitForSelector('.graph .node.ready[aria-label^="node3"]');
        await page.waitForSelector(".graph .line.answers");
        await visitor.picture("graph");
        await page.click("#tab-pods");
        await page.getByText("was on node2").waitFor();
        await page.click("#tab-flows");
        await page
          .getByText(/denied by .*closed/)
          .first()
          .waitFor();
        const began = performance.now();
        const killed = the().killNode("node3");
        await page.waitForSelector(".graph .node.silent");
        process.stdout.write(
          `      a node that dies is drawn so after ${((performance.now() - began) / 1_000).toFixed(1)} s\n`,
        );
        await killed;
        await page.waitForSelector(".graph .line.bad");
        // By keys alone.
        await page.focus(".graph .node.silent");
        await page.keyboard.press("Enter");
        await page.locator(".details h2", { hasText: "node3" }).waitFor();
        await page.emulateMedia({ colorScheme: "dark" });
        await visitor.picture("dead-node");
        await page.keyboard.press("Escape");
        await page.waitForSelector(".details", { state: "detached" });
        await page.getByRole("button", { name: "Matrix" }).click();
        // What is under the pointer is chosen as well.
        await page.mouse.move(0, 0);
        await page.focus(".matrix canvas");
        await page.keyboard.press("ArrowRight");
        await page.getByText("node1 → node3").waitFor();
        await page.keyboard.press("Enter");
        await page.getByRole("heading", { name: "node1 and node3" }).waitFor();
        await page.setViewportSize({ width: 390, height: 844 });
        await visitor.picture("telephone");
        const [wide, room] = await page.evaluate<[number, number]>(
          "[document.scrollingElement.scrollWidth, document.documentElement.clientWidth]",
        );
        assert.ok(wide <= room, `the page is ${wide} pixels wide on a telephone of ${room}`);
        visitor.assertQuiet(map.url);
      },
    );

    where(`draws what 1,000 nodes have measured of each other${unless}`, async () => {
      const many = await serveMany(1_000);
      try {
        await using visitor = await Visitor.open(many.url);
        const { page } = visitor;
        // All pairs of one node, both ways.
        await page.waitForSelector('.matrix canvas[data-faulty="1998"]');
        await visitor.picture("matrix-1000", false);
        const canvas = page.locator(".matrix canvas");
        const cells = async (): Promise<number> => Number(await canvas.getAttribute("data-painted"));
        assert.equal(await cells(), 1_000_000, "each pair is painted once");
        assert.equal(await canvas.getAttribute("data-left"), "0");
        // No frame had more than its part of it; how long that takes is the machine's.
        const most = Number(await canvas.getAttribute("data-most-painted"));
        assert.ok(most > 0 && most <= MOST_CELLS + 1_000, `${most} cells in one frame`);
        // Whatever is seen of it: nothing is painted again.
        const took: number[] = [];
        await canvas.focus();
        for (const key of ["ArrowDown", "ArrowRight", "+", "+", "ArrowDown", "0"]) {
          const frames = await canvas.getAttribute("data-frames");
          await page.keyboard.press(key);
          await page.waitForSelector(`.matrix canvas:not([data-frames="${frames}"])`);
          took.push(Number(await canvas.getAttribute("data-draw-ms")));
        }
        process.stdout.write(`      a frame of 1,000 nodes: ${took.join(", ")} ms\n`);
        assert.equal(await cells(), 1_000_000, "enlarging and moving paint nothing");
        // Of what changes, no more than that.
        many.measure(5, { to: 7, state: "loss" });
        await page.waitForSelector('.matrix canvas[data-faulty="1999"]');
        assert.equal(await cells(), 1_000_001, "one pair is painted again");
        many.world.nodeGone("node3");
        await page.waitForSelector('.matrix canvas[data-faulty="1"]');
        // Other colours: all of it again, in which a click is right before it is done.
        await page.evaluate(CLICK_WHILE_PAINTED);
        await page.emulateMedia({ colorScheme: "dark" });
        await page.waitForSelector('.matrix canvas[data-clicked][data-left="0"]');
        // Nodes by name, without node3: the places of the click are those of node1 and node500.
        await page.getByRole("heading", { name: "node1 and node500" }).waitFor();
        assert.equal(await canvas.getAttribute("data-faulty"), "1");
        visitor.assertQuiet(many.url);
      } finally {
        await many.close();
      }
    });
  });
});
