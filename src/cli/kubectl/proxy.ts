/**
 * The API server through `kubectl proxy`, which knows where it is and who we are. It listens on a Unix socket in a directory that nobody else may enter,
 * so that no other user of this machine gets our rights; it passes on nothing but reading what the map shows; and it ends with this process, whoever ends that.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectBy, type KubeClient } from "../../kube/index.ts";
import { CommandError } from "../command.ts";
import type { Kubectl } from "./call.ts";
import { type EndingWithUs, endingWithUs } from "./ending-with-us.ts";

const OBJECTS = [
  "^/api/v1/(nodes|pods|events)(/[^/]+)?$",
  "^/api/v1/namespaces/[^/]+/(pods|events)/[^/]+$",
  "^/apis/skylane[.]dev/",
];
const OTHERS = "^(POST|PUT|PATCH|DELETE|OPTIONS|CONNECT)$";
/** It says that it listens within a moment; before that it may ask a helper for credentials, who may ask a person. */
const START_MS = 60_000;
/** Pause before it is started again, in milliseconds; doubled with each time that it ends early. */
const PAUSE_MS = 1_000;
const MOST_PAUSE_MS = 60_000;
const MOST_COMPLAINTS = 2_000;
/** What a shell answers that does not find a program, or may not run it. */
const NOT_RUN: ReadonlySet<number | null> = new Set([126, 127]);

export class Proxy {
  readonly client: KubeClient;
  readonly #cluster: Kubectl;
  readonly #dir = mkdtempSync(join(tmpdir(), "skylane-ui-"));
  #child: EndingWithUs | undefined;
  #closed = false;
  #pause = PAUSE_MS;
  #timer: NodeJS.Timeout | undefined;

  private constructor(cluster: Kubectl) {
    this.#cluster = cluster;
    this.client = connectBy({ server: "kubectl proxy", open: () => connect({ path: this.#socket }) });
  }

  get #socket(): string {
    return join(this.#dir, "api");
  }

  /** @throws CommandError when it cannot be run, or ends before it listens, with its own words */
  static async start(cluster: Kubectl): Promise<Proxy> {
    const proxy = new Proxy(cluster);
    try {
      await proxy.#run();
      return proxy;
    } catch (error) {
      await proxy.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#child?.stdin.end();
    await this.client.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** Resolves when it listens. */
  #run(): Promise<void> {
    // The one before may have left it.
    rmSync(this.#socket, { force: true });
    const { program, options } = this.#cluster;
    const words = [
      `--unix-socket=${this.#socket}`,
      `--accept-paths=${OBJECTS.join(",")}`,
      `--reject-methods=${OTHERS}`,
    ];
    const child = endingWithUs(this.#dir, program, [...options, "proxy", ...words]);
    this.#child = child;
    let [said, complaints] = ["", ""];
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      complaints = (complaints + text).slice(0, MOST_COMPLAINTS);
    });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        child.stdin.end();
        reject(new CommandError(`kubectl proxy did not listen within ${START_MS} ms`));
      }, START_MS);
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        if (said.length < MOST_COMPLAINTS) said += text;
        if (!said.includes("Starting to serve on")) return;
        clearTimeout(timer);
        resolve();
      });
      child.once("error", (cause) => {
        clearTimeout(timer);
        reject(new CommandError("no shell can be run, which kubectl proxy needs to end with the map", { cause }));
      });
      child.once("close", (code) => {
        clearTimeout(timer);
        const why = complaints.trim() || `it ended with status ${code}`;
        reject(
          new CommandError(
            NOT_RUN.has(code) ? `${program} cannot be run: it has to be in PATH (${why})` : `kubectl proxy: ${why}`,
          ),
        );
        if (said !== "") this.#again();
      });
    });
  }

  /** It has ended by itself: who reads finds nobody there until it listens again. */
  #again(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#run().then(
        () => (this.#pause = PAUSE_MS),
        () => this.#again(),
      );
    }, this.#pause);
    this.#pause = Math.min(2 * this.#pause, MOST_PAUSE_MS);
  }
}
