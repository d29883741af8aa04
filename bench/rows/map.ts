/** What the live map takes with 1,000 nodes: a frame of its page in a real browser, and the memory of who serves it. */
import { spawn } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import type { Page } from "playwright-core";
import { CHROMIUM } from "../support/chromium.ts";
import type { Context, Measurement } from "../support/context.ts";
import { asked, memoryOf, until } from "../support/process.ts";
import { alone, type Row } from "../support/row.ts";

const NODES = 1_000;
const PODS_EACH = 10;
/** Enlarges, moves, enlarges more, makes smaller, and shows all. */
const KEYS = ["+", "ArrowDown", "+", "+", "ArrowRight", "-", "0", "ArrowLeft"];

/** Presses a key, and waits for what it changes to be on the screen. @returns how long that took, in milliseconds */
const press = (page: Page, key: string): Promise<number> =>
  page.evaluate<number>(`new Promise((done) => {
    const canvas = document.querySelector(".matrix canvas");
    const [frames, start] = [canvas.dataset.frames, performance.now()];
    const look = () => {
      if (canvas.dataset.frames === frames) return requestAnimationFrame(look);
      setTimeout(() => done(performance.now() - start));
    };
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key: ${JSON.stringify(key)}, bubbles: true }));
    look();
  })`);

/** How long drawing has taken of late, and how many cells were painted by now. */
async function drawn(page: Page): Promise<{ ms: number; painted: number }> {
  const canvas = page.locator(".matrix canvas");
  const [ms, painted] = await Promise.all(["data-draw-ms", "data-painted"].map((name) => canvas.getAttribute(name)));
  return { ms: Number(ms), painted: Number(painted) };
}

async function frames(context: Context, url: string, change: () => Promise<unknown>): Promise<Row[]> {
  const { chromium } = await import("playwright-core");
  const browser = await chromium.launch({ executablePath: CHROMIUM as string, args: ["--no-sandbox"] });
  context.onEnd(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1400, height: 1000 } });
  await page.goto(url);
  await page.waitForSelector('.matrix canvas[data-painted="1000000"]');
  const first = await drawn(page);
  const [taken, moved, changed]: number[][] = [[], [], []];
  const before = first.painted;
  for (let round = 0; round < (context.quick ? 3 : 25); round++)
    for (const key of KEYS) {
      taken?.push(await press(page, key));
      moved?.push((await drawn(page)).ms);
    }
  const repainted = (await drawn(page)).painted - before;
  for (let n = 0; n < (context.quick ? 5 : 50); n++) {
    const { painted } = await drawn(page);
    await change();
    await until("a pair is painted again", 60_000, async () => (await drawn(page)).painted > painted);
    changed?.push((await drawn(page)).ms);
  }
  const head = { group: "map", unit: "ms" as const };
  const target = { of: "value" as const, atMost: 100 };
  const note = `${repainted} cells painted again by all of them`;
  return [
    alone({ ...head, measure: "a frame after a key that enlarges or moves", target, note }, taken ?? []),
    alone({ ...head, measure: "of it drawing the matrix" }, moved ?? []),
    alone({ ...head, measure: "drawing it when one pair has changed", target }, changed ?? []),
    alone({ ...head, measure: "painting all of its million pairs" }, [first.ms]),
  ];
}

export const map: Measurement = {
  name: "map",
  title: `The live map of ${NODES} nodes`,
  async run(context) {
    const here = { spawn: (...[command, argv, options]: Parameters<typeof spawn>) => spawn(command, argv, options) };
    const script = "bench/simulator/map-child.ts";
    const { child, sample, dismiss } = asked<{ url: string }>(context, here, script, String(NODES), String(PODS_EACH));
    const { url } = await sample();
    const rows: Row[] = [];
    if (CHROMIUM === undefined) context.say("no chromium in PATH: frames of the page are not measured");
    else rows.push(...(await frames(context, url, sample)));
    // What a page that has just come was sent is over.
    await pause(2_000);
    const note = `${NODES * PODS_EACH} pods, ${CHROMIUM === undefined ? "no page" : "one page"}`;
    const memory = memoryOf(child.pid as number);
    dismiss();
    return [...rows, alone({ group: "map", measure: "memory of who serves it", unit: "MB", note }, [memory])];
  },
};
