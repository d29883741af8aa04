/** Each node's view of each other, on a canvas: by keys, pointer or touch. What the cursor is on is said in words below it. */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { type MapNode, PAIR_STATES } from "../wire.ts";
import { pairColours } from "./colours.ts";
import type { Mirror } from "./mirror.ts";
import { PairImage, type Surface } from "./paint.ts";
import type { Select } from "./selection.ts";
import { cellWords, STATE_WORDS } from "./words.ts";

/** From this size of a cell on, in pixels, nodes are named beside it, and faults need no larger marks. */
const NAMED = 12;
const MARKED = 3;
const MARGIN = 88;
const MOST_ZOOM = 64;
/** How long a frame may paint, in milliseconds. */
const PAINT_MS = 12;

interface View {
  /** 1: all of it is seen. */
  zoom: number;
  /** Place of the left upper corner, in nodes. */
  x: number;
  y: number;
}

const WHOLE: View = { zoom: 1, x: 0, y: 0 };
const within = (value: number, most: number): number => Math.min(Math.max(0, value), Math.max(0, most));

/** Zooms so that one place stays where it is. */
function zoomed({ zoom, x, y }: View, factor: number, count: number, at: { x: number; y: number }): View {
  const next = Math.min(MOST_ZOOM, Math.max(1, zoom * factor));
  const [before, after] = [count / zoom, count / next];
  const place = (corner: number, part: number): number => within(corner + part * (before - after), count - after);
  return { zoom: next, x: place(x, at.x), y: place(y, at.y) };
}

/** Moves the view so that a cell is seen. */
function showing({ zoom, x, y }: View, count: number, cell: { from: number; to: number }): View {
  const seen = count / zoom;
  const shift = (corner: number, place: number): number =>
    within(place < corner ? place : place + 1 > corner + seen ? place + 1 - seen : corner, count - seen);
  return { zoom, x: shift(x, cell.to), y: shift(y, cell.from) };
}

/** Where the cells are on the canvas, in its own pixels. */
function geometry(canvas: HTMLCanvasElement, count: number, view: View) {
  const scale = devicePixelRatio || 1;
  const seen = count / view.zoom;
  const whole = canvas.width;
  const named = (whole - MARGIN * scale) / seen >= NAMED * scale && whole > 4 * MARGIN * scale;
  const margin = named ? Math.round(MARGIN * scale) : 0;
  return { scale, margin, area: whole - margin, cell: (whole - margin) / seen, named, seen };
}

/** A picture from which the canvas is drawn, enlarged as it has to be. */
class Bitmap implements Surface {
  readonly canvas: OffscreenCanvas;
  readonly #image: ImageData;

  constructor(size: number, pixels: Uint32Array<ArrayBuffer>) {
    this.canvas = new OffscreenCanvas(size, size);
    this.#image = new ImageData(new Uint8ClampedArray(pixels.buffer), size, size);
  }

  put(first: number, end: number): void {
    const { width } = this.#image;
    this.canvas.getContext("2d")?.putImageData(this.#image, 0, 0, 0, first, width, end - first);
  }
}

/** Draws what is painted. How much that is does not depend on the view. */
function draw(
  canvas: HTMLCanvasElement,
  mirror: Mirror,
  image: PairImage<Bitmap>,
  css: readonly string[],
  view: View,
  cursor: { from: number; to: number },
): void {
  const context = canvas.getContext("2d");
  const { order } = mirror;
  if (!context || order.length === 0) return;
  const { scale, margin, area, cell, named, seen } = geometry(canvas, order.length, view);
  const style = getComputedStyle(canvas);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  const { surface, perPixel } = image.level(cell);
  const parts = [view.x, view.y, seen, seen].map((one) => one / perPixel) as [number, number, number, number];
  context.drawImage(surface.canvas, ...parts, margin, margin, area, area);
  context.save();
  context.beginPath();
  context.rect(margin, margin, area, area);
  context.clip();
  const place = (corner: number, index: number): number => margin + (index - corner) * cell;
  if (cell >= 4 * scale) {
    context.fillStyle = style.backgroundColor;
    for (let i = Math.ceil(view.x); i <= view.x + seen; i++) context.fillRect(place(view.x, i), margin, scale, area);
    for (let i = Math.ceil(view.y); i <= view.y + seen; i++) context.fillRect(margin, place(view.y, i), area, scale);
  }
  const mark = MARKED * scale;
  if (cell < mark)
    for (const { from, to, state } of image.faults) {
      context.fillStyle = css[PAIR_STATES.indexOf(state)] as string;
      context.fillRect(place(view.x, to) + (cell - mark) / 2, place(view.y, from) + (cell - mark) / 2, mark, mark);
    }
  const size = Math.max(cell, 7 * scale);
  const at = [place(view.x, cursor.to) + (cell - size) / 2, place(view.y, cursor.from) + (cell - size) / 2] as const;
  context.lineWidth = 2 * scale;
  context.strokeStyle = style.color;
  context.strokeRect(...at, size, size);
  context.restore();
  if (!named) return;
  context.fillStyle = style.color;
  context.font = `${11 * scale}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const short = (name: string): string => (name.length <= 14 ? name : `…${name.slice(-13)}`);
  for (let i = Math.floor(view.y); i < Math.min(order.length, view.y + seen); i++)
    context.fillText(short(order[i]?.name ?? ""), 2 * scale, place(view.y, i) + cell / 2, margin - 4 * scale);
  for (let i = Math.floor(view.x); i < Math.min(order.length, view.x + seen); i++) {
    context.save();
    context.translate(place(view.x, i) + cell / 2, margin - 4 * scale);
    context.rotate(-Math.PI / 2);
    context.fillText(short(order[i]?.name ?? ""), 0, 0, margin - 4 * scale);
    context.restore();
  }
}

/** For whoever wants to know what a frame costs, and what of it is painting. */
function note({ dataset }: HTMLCanvasElement, image: PairImage<Bitmap>, painted: number, ms: number): void {
  const most = (name: string, value: number): string => String(Math.max(Number(dataset[name] ?? 0), value));
  dataset["drawMs"] = ms.toFixed(1);
  dataset["longestMs"] = most("longestMs", Number(ms.toFixed(1)));
  dataset["painted"] = String(image.cells);
  dataset["mostPainted"] = most("mostPainted", painted);
  dataset["left"] = String(image.left);
  dataset["frames"] = String(Number(dataset["frames"] ?? 0) + 1);
  dataset["faulty"] = String(image.faulty);
}

const MOVES: Readonly<Record<string, readonly [from: number, to: number]>> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

export function Matrix({ mirror, select }: { mirror: Mirror; select: Select }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const image = useMemo(() => new PairImage((size, pixels) => new Bitmap(size, pixels)), []);
  /** What it is painted of, and in which colours. */
  const painted = useRef<{ of: string; css: readonly string[] }>(undefined);
  /** The frame in which the next part is painted; 0 where there is none. */
  const next = useRef(0);
  /** What is on the screen: nodes may have come or gone since. */
  const shown = useRef<readonly MapNode[]>([]);
  const [width, setWidth] = useState(0);
  const [view, setView] = useState(WHOLE);
  const [cursor, setCursor] = useState({ from: 0, to: 1 });
  const [dark, setDark] = useState(false);
  const drag = useRef<{ x: number; y: number; view: View; moved: boolean }>(undefined);
  const count = mirror.order.length;

  useEffect(() => {
    const element = canvas.current;
    if (!element) return undefined;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const changed = (): void => setDark(scheme.matches);
    changed();
    scheme.addEventListener("change", changed);
    return () => {
      observer.disconnect();
      scheme.removeEventListener("change", changed);
    };
  }, []);

  /** @param paints the next part of what is left, which a frame of its own does */
  const frame = (paints = false): void => {
    const element = canvas.current;
    if (!element || width === 0 || count === 0) return;
    const start = performance.now();
    const side = Math.round(width * (devicePixelRatio || 1));
    if (element.width !== side) [element.width, element.height] = [side, side];
    const of = `${mirror.pairsVersion} ${dark}`;
    if (painted.current?.of !== of) {
      const { css, pixels } = pairColours(element);
      const slots = mirror.order.map(({ slot }) => slot);
      image.update(slots, mirror.rows, pixels);
      painted.current = { of, css };
    }
    const before = image.cells;
    if (paints) image.paint(() => performance.now() - start > PAINT_MS);
    if (image.left > 0 && next.current === 0)
      next.current = requestAnimationFrame(() => {
        next.current = 0;
        latest.current(true);
      });
    draw(element, mirror, image, painted.current.css, view, cursor);
    shown.current = mirror.order;
    note(element, image, image.cells - before, performance.now() - start);
  };
  const latest = useRef(frame);
  latest.current = frame;
  useLayoutEffect(() => frame(), [mirror.pairsVersion, mirror, width, view, cursor, dark, count]);
  useEffect(() => () => cancelAnimationFrame(next.current), []);

  const cellAt = (event: { offsetX: number; offsetY: number }): { from: number; to: number } | undefined => {
    const element = canvas.current;
    const { length } = shown.current;
    if (!element || length === 0) return undefined;
    const { scale, margin, cell } = geometry(element, length, view);
    const to = Math.floor(view.x + (event.offsetX * scale - margin) / cell);
    const from = Math.floor(view.y + (event.offsetY * scale - margin) / cell);
    return from >= 0 && to >= 0 && from < length && to < length ? { from, to } : undefined;
  };
  const choose = ({ from, to }: { from: number; to: number }): void => {
    const [a, b] = [shown.current[from], shown.current[to]];
    if (a && b) select(a === b ? { kind: "node", name: a.name } : { kind: "pair", from: a.name, to: b.name });
  };
  const zoom = (factor: number, at = { x: 0.5, y: 0.5 }): void => setView((now) => zoomed(now, factor, count, at));
  const onKeyDown = (event: KeyboardEvent): void => {
    const move = MOVES[event.key];
    if (move) {
      const step = event.shiftKey ? 10 : 1;
      const next = {
        from: within(cursor.from + step * move[0], count - 1),
        to: within(cursor.to + step * move[1], count - 1),
      };
      setCursor(next);
      setView((now) => showing(now, count, next));
    } else if (event.key === "+" || event.key === "=") zoom(2);
    else if (event.key === "-") zoom(0.5);
    else if (event.key === "0") setView(WHOLE);
    else if (event.key === "Enter" || event.key === " ") choose(cursor);
    else return;
    event.preventDefault();
  };
  const onPointerMove = (event: PointerEvent): void => {
    const from = drag.current;
    if (from && view.zoom > 1 && canvas.current) {
      const perPixel = count / view.zoom / canvas.current.clientWidth;
      const [dx, dy] = [(from.x - event.offsetX) * perPixel, (from.y - event.offsetY) * perPixel];
      from.moved ||= Math.abs(from.x - event.offsetX) + Math.abs(from.y - event.offsetY) > 4;
      const most = count - count / view.zoom;
      if (from.moved) setView({ ...view, x: within(from.view.x + dx, most), y: within(from.view.y + dy, most) });
    } else {
      const cell = cellAt(event);
      if (cell) setCursor(cell);
    }
  };
  const onWheel = (event: WheelEvent): void => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const side = canvas.current?.clientWidth ?? 1;
    zoom(event.deltaY < 0 ? 1.5 : 1 / 1.5, { x: event.offsetX / side, y: event.offsetY / side });
  };
  const [a, b] = [mirror.order[cursor.from], mirror.order[cursor.to]];
  return (
    <figure class="matrix">
      <canvas
        ref={canvas}
        tabIndex={0}
        role="img"
        aria-label={`What each of ${count} nodes has measured of each other. Arrow keys move, Enter chooses, plus and minus zoom, 0 shows all.`}
        class={view.zoom > 1 ? "zoomed" : ""}
        onKeyDown={onKeyDown}
        onWheel={onWheel}
        onPointerMove={onPointerMove}
        onPointerDown={(event) => {
          drag.current = { x: event.offsetX, y: event.offsetY, view, moved: false };
        }}
        onPointerLeave={() => {
          drag.current = undefined;
        }}
        onPointerUp={(event) => {
          const moved = drag.current?.moved;
          drag.current = undefined;
          const cell = cellAt(event);
          if (!moved && cell) choose(cell);
        }}
      />
      <figcaption>
        <span role="status">
          {a && b ? (a === b ? a.name : `${a.name} → ${b.name}: ${cellWords(mirror.cell(a, b))}`) : ""}
        </span>
        <span class="buttons">
          <button type="button" aria-label="Enlarge" onClick={() => zoom(2)}>
            +
          </button>
          <button type="button" aria-label="Make smaller" onClick={() => zoom(0.5)}>
            −
          </button>
          <button type="button" onClick={() => setView(WHOLE)}>
            All
          </button>
        </span>
      </figcaption>
    </figure>
  );
}

/** What the colours mean. */
export function Legend() {
  return (
    <ul class="legend">
      {PAIR_STATES.map((state) => (
        <li key={state}>
          <i class={`swatch ${state}`} /> {STATE_WORDS[state]}
        </li>
      ))}
    </ul>
  );
}
