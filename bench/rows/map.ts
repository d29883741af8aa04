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

/** Notes what takes the page's thread for more than 50 ms, from its load on (Long Tasks API). */
const WATCH = `globalThis.longTasks = [];
new PerformanceObserver((list) => globalThis.longTasks.push(...list.getEntries().map(({ duration }) => duration)))
  .observe({ entryTypes: ["longtask"] });`;
/** How long drawing has taken of late and at most, and how many cells were painted by now. */
async function drawn(page: Page): Promise<{ ms: number; longest: number; painted: number }> {
  const canvas = page.locator(".matrix canvas");
  const names = ["data-draw-ms", "data-longest-ms", "data-painted"];
  const [ms, longest, painted] = await Promise.all(names.map((name) => canvas.getAttribute(name)));
  return { ms: Number(ms), longest: Number(longest), painted: Number(painted) };
}

/** The page as it comes: until all of it is there and lists have grown. */
async function opened(page: Page, url: string): Promise<{ painted: number; longest: number; tasks: number[] }> {
  await page.addInitScript(WATCH);
  await page.goto(url);
  await page.waitForSelector('.matrix canvas[data-painted="1000000"][data-left="0"]');
  const painted = await page.evaluate<number>("performance.now()");
  const { longest } = await drawn(page);
  await pause(1_000);
  return { painted, longest, tasks: await page.evaluate<number[]>("globalThis.longTasks") };
}

async function frames(context: Context, url: string, change: () => Promise<unknown>): Promise<Row[]> {
  const { chromium } = await import("playwright-core");
  const browser = await chromium.launch({ executablePath: CHROMIUM as string, args: ["--no-sandbox"] });
  context.onEnd(() => browser.close());
  const visit = () => browser.newPage({ viewport: { width: 1400, height: 1000 } });
  const firsts: Awaited<ReturnType<typeof opened>>[] = [];
  for (let n = 0; n < (context.quick ? 1 : 5); n++) {
    const once = await visit();
    firsts.push(await opened(once, url));
    await once.close();
  }
  const page = await visit();
  firsts.push(await opened(page, url));
  const [taken, moved, changed]: number[][] = [[], [], []];
  const before = (await drawn(page)).painted;
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
    alone(
      { ...head, measure: "the longest frame of the first painting", target },
      firsts.map(({ longest }) => longest),
    ),
    alone(
      { ...head, measure: "the longest task of the page from its load on", target },
      firsts.map(({ tasks }) => Math.max(0, ...tasks)),
    ),
    alone(
      { ...head, measure: "from its load to all of its million pairs" },
      firsts.map(({ painted }) => painted),
    ),
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
