import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestApi } from "./support.ts";

const NODES = "/api/v1/nodes";

describe("lab API: restart", () => {
  let dir: string;
  let dataFile: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-test-"));
    dataFile = join(dir, "objects.jsonl");
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it("keeps objects and goes on counting; older watches are told to list again", async () => {
    const first = await TestApi.start({ dataFile });
    const a = await first.node("a", { annotations: { k: "v" } });
    await first.node("b");
    await first.ok("DELETE", `${NODES}/b`);
    const rv = first.server.store.resourceVersion;
    await first.server.close();

    const second = await TestApi.start({ dataFile });
    assert.equal(second.server.store.resourceVersion, rv, "the deletion counts, and nothing is written by starting");
    assert.deepEqual(await second.ok("GET", `${NODES}/a`), a);
    assert.equal((await second.get(`${NODES}/b`)).code, 404);
    const old = await second.watch(`${NODES}?resourceVersion=${a.metadata.resourceVersion}`);
    assert.equal((await old.next()).object.code, 410);
    const current = await second.watch(`${NODES}?resourceVersion=${rv}`);
    const c = await second.node("c");
    assert.equal(Number(c.metadata.resourceVersion), rv + 1);
    assert.deepEqual(await current.brief(1), ["ADDED c"]);
    current.close();
    await second.server.close();
  });

  it("survives being killed in the middle of a line, and refuses a file that is not its own", async () => {
    const first = await TestApi.start({ dataFile });
    await first.node("a");
    await first.server.close();
    appendFileSync(dataFile, '{"rv":99,"resource":"/nodes","key":"b","obj');
    const second = await TestApi.start({ dataFile });
    assert.equal((await second.get(`${NODES}/a`)).code, 200);
    assert.equal((await second.get(`${NODES}/b`)).code, 404);
    await second.server.close();
    assert.ok(readFileSync(dataFile, "utf8").endsWith("}\n"));
    writeFileSync(dataFile, "not: ours\n");
    await assert.rejects(TestApi.start({ dataFile }), /objects\.jsonl:1 is not a line of the lab API's journal/);
  });
});
