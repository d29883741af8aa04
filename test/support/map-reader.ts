/** Reads the live map's stream as its page does. */
import { Inbox, type Kind } from "../../src/cli/ui/page/inbox.ts";
import { Mirror } from "../../src/cli/ui/page/mirror.ts";

/** What a stream says, from {@link open} until it is disposed of. */
export class MapReader implements AsyncDisposable {
  readonly mirror = new Mirror();
  /** Why it has ended, where nobody ended it. */
  failure: unknown;
  readonly #stop = new AbortController();
  #done: Promise<void> = Promise.resolve();

  /** @param url of the page. Resolves when everything was read once. */
  static async open(url: string): Promise<MapReader> {
    const reader = new MapReader();
    const response = await fetch(`${url}stream`, { signal: reader.#stop.signal });
    if (response.status !== 200 || !response.body) throw new Error(`${response.status}: ${await response.text()}`);
    const first = Promise.withResolvers<void>();
    reader.#done = reader.#follow(response.body, first.resolve).catch((error: unknown) => {
      if (!reader.#stop.signal.aborted) reader.failure = error;
      first.reject(error);
    });
    await first.promise;
    return reader;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #follow(body: ReadableStream<Uint8Array>, first: () => void): Promise<void> {
    let text = "";
    const whole = (): void => {
      if (this.mirror.started > 0) first();
    };
    const inbox = new Inbox(this.mirror, whole, (turn) => turn());
    const decoder = new TextDecoder();
    for await (const chunk of body) {
      text += decoder.decode(chunk, { stream: true });
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) {
        const field = (name: string): string => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1] ?? "";
        const [event, data] = [field("event"), field("data")];
        if (["all", "change", "part"].includes(event)) inbox.push(event as Kind, data, Date.now());
      }
    }
  }
}
