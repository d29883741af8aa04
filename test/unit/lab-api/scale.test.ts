import assert from "node:assert/strict";
import type { KubeObject } from "../../../lab/api/index.ts";
import { META, META_LIST, TestApi } from "./support.ts";

const NODES = "/api/v1/nodes";
const COUNT = 5000;
const name = (n: number): string => `node-${String(n).padStart(4, "0")}`;

/** A Node of about 12 KB, most of it images, as real ones are. */
function largeNode(n: number): KubeObject {
  const images = Array.from({ length: 90 }, (_, i) => ({
    names: [`registry.example/${"x".repeat(60)}-${i}`],
    sizeBytes: i,
  }));
  const metadata = { name: name(n), annotations: { "skylane.dev/vtep": "{}" } };
  return { kind: "Node", apiVersion: "v1", metadata, status: { images } };
}

describe("lab API: 5,000 nodes of 12 KB", function () {
  this.timeout(120_000);
  let api: TestApi;
  before(async () => {
    api = await TestApi.start();
    const { store } = api.server;
    for (let n = 0; n < COUNT; n += 1) store.put(api.server.type("nodes"), name(n), largeNode(n));
  });
  after(() => api.server.close());

  it("lists them in pages, compressed, metadata alone", async () => {
    let token = "";
    let count = 0;
    let pages = 0;
    do {
      const reply = await api.get(`${NODES}?limit=500&continue=${token}`, { accept: META_LIST });
      count += reply.body.items.length;
      token = reply.body.metadata.continue ?? "";
      pages += 1;
    } while (token !== "");
    assert.deepEqual([count, pages], [COUNT, 10]);
    const whole = await api.raw("GET", NODES, { headers: { "accept-encoding": "gzip" } });
    assert.equal(whole.headers.get("content-encoding"), "gzip");
    assert.ok((await whole.arrayBuffer()).byteLength > 40_000_000);
  });

  it("streams them to a WatchList and every later event after them, while hundreds a second come", async () => {
    const path = `${NODES}?sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`;
    const watches = await Promise.all([
      api.watch(path),
      api.watch(path, { accept: META }),
      api.watch(path, { accept: META }),
    ]);
    const writes = (async () => {
      for (let n = 0; n < 300; n += 1) await api.annotate(name(n), { beat: "1" });
    })();
    const read = async (watch: (typeof watches)[number]): Promise<{ initial: number; modified: Set<string> }> => {
      const modified = new Set<string>();
      let initial = 0;
      for (let ended = false; !ended || modified.size < 300; ) {
        const { type, object } = await watch.next();
        if (type === "BOOKMARK") ended = true;
        else if (type === "ADDED") {
          initial += 1;
          if (object.metadata.annotations.beat !== undefined) modified.add(object.metadata.name);
        } else modified.add(object.metadata.name);
      }
      return { initial, modified };
    };
    for (const { initial, modified } of await Promise.all(watches.map(read))) {
      assert.deepEqual([initial, modified.size], [COUNT, 300]);
    }
    await writes;
    for (const watch of watches) watch.close();
  });
});
