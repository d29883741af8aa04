import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PathWatch } from "../../../src/sys/index.ts";
import { eventually } from "../../support/eventually.ts";

describe("watching directories", () => {
  let top: string;
  let heard = 0;
  let watch: PathWatch;
  beforeEach(() => {
    top = mkdtempSync(join(tmpdir(), "skylane-watch-"));
    heard = 0;
  });
  afterEach(() => {
    watch.close();
    rmSync(top, { recursive: true, force: true });
  });

  const over = (...paths: string[]): void => {
    watch = new PathWatch(
      () => paths,
      () => heard++,
    );
    assert.deepEqual(watch.arm(), []);
  };
  /** Does something and waits until it is told; then goes over to what there is, as whoever is told does. */
  const told = async (what: string, act: () => void): Promise<void> => {
    const before = heard;
    act();
    await eventually(() => heard > before, { message: `nobody was told that ${what}` });
    watch.arm();
  };

  it("tells of files, of the directory itself, and of those above it, however often they go and come", async () => {
    const path = join(top, "a/b/run");
    over(path);
    for (let round = 0; round < 3; round++) {
      await told("the first directory came", () => mkdirSync(join(top, "a")));
      await told("the second directory came", () => mkdirSync(join(top, "a/b")));
      await told("the directory came", () => mkdirSync(path));
      await told("a file came", () => writeFileSync(join(path, "x"), ""));
      await told("a file changed", () => writeFileSync(join(path, "x"), "y"));
      await told("the directory was renamed", () => renameSync(path, `${path}.old`));
      await told("another one has its name", () => mkdirSync(path));
      await told("a file of the other one came", () => writeFileSync(join(path, "z"), ""));
      await told("all of it went", () => rmSync(join(top, "a"), { recursive: true }));
    }
  });

  it("tells nothing of the other names above it", async () => {
    const path = join(top, "run");
    mkdirSync(path);
    over(path);
    writeFileSync(join(top, "other"), "");
    writeFileSync(join(path, "sentinel"), "");
    await eventually(() => heard > 0, { message: "the sentinel was not told" });
    assert.ok(heard <= 2, `told ${heard} times; one file was made and closed`);
  });

  it("watches one directory for itself and another below it", async () => {
    const path = join(top, "run");
    mkdirSync(path);
    over(top, path);
    await told("a file came above", () => writeFileSync(join(top, "x"), ""));
    await told("a file came below", () => writeFileSync(join(path, "x"), ""));
  });
});
