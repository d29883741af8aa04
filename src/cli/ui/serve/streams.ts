/** Those who look: each gets everything first, and then what changes, as server-sent events (HTML Living Standard, 9.2). One that does not read is let go of. */
import type { ServerResponse } from "node:http";
import type { World } from "../model/world.ts";
import type { MapDelta, MapSnapshot } from "../wire.ts";
import { inParts } from "./parts.ts";

/** Changes go out so long after the first of them, together, in milliseconds. */
const GATHER_MS = 150;
/** A stream that says nothing for long is cut by some that are in between. */
const BEAT_MS = 15_000;
/** Who looks, at most, and what may wait for one to read it, in bytes. */
const MOST_STREAMS = 16;
const MOST_WAITING = 32 << 20;

export class Streams {
  readonly #world: World;
  readonly #open = new Set<ServerResponse>();
  #timer: NodeJS.Timeout | undefined;
  readonly #beat: NodeJS.Timeout;

  constructor(world: World) {
    this.#world = world;
    world.onChange = () => {
      this.#timer ??= setTimeout(() => this.#send(), GATHER_MS);
    };
    this.#beat = setInterval(() => this.#write(": here\n\n"), BEAT_MS);
  }

  /** @returns whether there is room for one more, who has everything then */
  add(response: ServerResponse): boolean {
    if (this.#open.size >= MOST_STREAMS) return false;
    // What has changed until now is in the whole, and those who look already get it before.
    this.#send();
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    response.write("retry: 1000\n");
    for (const event of eventsOf("all", this.#world.snapshot())) response.write(event);
    this.#open.add(response);
    response.once("close", () => this.#open.delete(response));
    return true;
  }

  close(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
    this.#world.onChange = () => undefined;
    for (const response of this.#open) response.end();
  }

  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const delta = this.#world.take();
    if (delta) for (const event of eventsOf("change", delta)) this.#write(event);
  }

  #write(text: string): void {
    for (const response of this.#open) {
      if (response.writableLength > MOST_WAITING) response.destroy();
      else response.write(text);
    }
  }
}

/** An event a part; the first says what it is. */
const eventsOf = (kind: "all" | "change", change: MapSnapshot | MapDelta): string[] =>
  inParts(change).map((part, i) => `event: ${i === 0 ? kind : "part"}\ndata: ${part}\n\n`);
