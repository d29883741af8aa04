/** The live map's page in a real browser: where there is one. Pictures of it are left in a directory that is named at the end. */
import assert from "node:assert/strict";
import { accessSync, constants, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { World } from "../../../src/cli/ui/model/world.ts";
import { serveMap } from "../../../src/cli/ui/serve/server.ts";

/** Chromium of this machine; undefined where there is none. */
export const CHROMIUM: string | undefined = (process.env["PATH"] ?? "")
  .split(delimiter)
  .map((dir) => join(dir, "chromium"))
  .find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

/** A page waits for what comes so long: never, unless it fails. */
const PATIENCE_MS = 120_000;
const PICTURES = join(tmpdir(), "skylane-live-map");

/** A browser with one page, which notes what goes wrong on it and whom it asks. */
export class Visitor implements AsyncDisposable {
  readonly page: Page;
  readonly troubles: string[] = [];
  readonly hosts = new Set<string>();
  readonly #browser: Browser;

  private constructor(browser: Browser, page: Page) {
    this.#browser = browser;
    this.page = page;
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("console", (message) => {
      if (message.type() === "error") this.troubles.push(message.text());
    });
    page.on("pageerror", (error) => this.troubles.push(error.message));
    page.on("request", (request) => this.hosts.add(new URL(request.url()).host));
  }

  static async open(url: string): Promise<Visitor> {
    const { chromium } = await import("playwright-core");
    mkdirSync(PICTURES, { recursive: true });
    // The tests run as root, with whom its sandbox does not start.
    const options = { executablePath: CHROMIUM as string, args: ["--no-sandbox"], timeout: PATIENCE_MS };
    const browser = await chromium.launch(options);
    const page = await browser.newPage({ viewport: { width: 1400, height: 1000 } });
    const visitor = new Visitor(browser, page);
    await page.goto(url);
    return visitor;
  }

  /** @param whole all of the page, and not only what is seen of it */
  async picture(name: string, whole = true): Promise<void> {
    const path = join(PICTURES, `${name}.png`);
    await this.page.screenshot({ path, fullPage: whole });
    process.stdout.write(`      ${path}\n`);
  }

  /** Whether nothing went wrong, and nobody else was asked. */
  assertQuiet(url: string): void {
    assert.deepEqual(this.troubles, []);
    // Pictures in the page itself have no host.
    assert.deepEqual([...this.hosts].filter(Boolean), [new URL(url).host]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}

/** Serves so many nodes that nobody has, each of which has measured all others, but for some that fail. */
export async function serveMany(count: number): Promise<{ url: string; world: World; close: () => Promise<void> }> {
  const world = new World(`${count} nodes`, Date.now);
  const names = Array.from({ length: count }, (_, i) => `node${i}`);
  const probes = { on: true, message: "", verdicts: [] };
  for (const name of names) {
    world.nodeSeen({ name, ips: [] });
    world.agentAnswered(name, { ready: true, uptimeSeconds: 1, vteps: [], refused: [], probes });
  }
  for (const [i, name] of names.entries())
    world.measured(
      name,
      names.map((node, j) => ({
        node,
        state: i === 3 || j === 3 ? "down" : "answers",
        rttMs: 0.2 + ((i * j) % 7) / 10,
      })),
    );
  const server = await serveMap(world, { answer: () => Promise.resolve({ error: "nobody is there" }) });
  return { url: server.url, world, close: () => server.close() };
}
