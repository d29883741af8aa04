/** The live map's page in a real browser: where there is one. Pictures of it are left in a directory that is named at the end. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { CHROMIUM } from "../../../bench/support/chromium.ts";

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
