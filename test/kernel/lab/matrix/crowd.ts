/** Pods and nodes that all speak with each other: who reaches whom, in both families, at each port. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { entering, type Inside } from "../../../../lab/exec.ts";
import type { Protocol, Question } from "./speaker.ts";

/** "tcp/80" */
export type Port = `${Protocol}/${number}`;

/** Somebody who speaks. */
export interface Member {
  name: string;
  inside: Inside;
  ips: readonly string[];
  ports: readonly Port[];
}

/** A question that one asks another. */
export interface Probe {
  from: string;
  to: string;
  ip: string;
  port: Port;
}

/** How long who is not to answer has for it at least, in milliseconds. */
const LEAST_MS = 100;
const PROGRAM = fileURLToPath(new URL("speaker.ts", import.meta.url));

const parts = (port: Port): [Protocol, number] => {
  const [protocol, number] = port.split("/");
  return [protocol as Protocol, Number(number)];
};

class Speaker {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  readonly #waiting = new Map<number, (answered: boolean) => void>();
  readonly ready: Promise<void>;
  #questions = 0;

  constructor({ inside, ports }: Member, env: NodeJS.ProcessEnv) {
    const of = (protocol: Protocol): number[] =>
      ports.map(parts).flatMap(([one, number]) => (one === protocol ? [number] : []));
    const wanted = JSON.stringify({ tcp: of("tcp"), udp: of("udp"), sctp: of("sctp") });
    const node = ["--disable-warning=ExperimentalWarning", PROGRAM, wanted];
    const [command, ...args] = entering(inside, process.execPath, node);
    this.#child = spawn(command as string, args, { stdio: ["pipe", "pipe", "inherit"], env });
    this.#closed = once(this.#child, "close");
    this.ready = new Promise((resolve, reject) => {
      void this.#closed.then(() => reject(new Error("a program in a pod has ended")));
      createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on("line", (line) => {
        if (line === "ready") return resolve();
        const { id, answered } = JSON.parse(line) as { id: number; answered: boolean };
        this.#waiting.get(id)?.(answered);
        this.#waiting.delete(id);
      });
    });
  }

  ask(question: Omit<Question, "id">): Promise<boolean> {
    const id = ++this.#questions;
    this.#child.stdin?.write(`${JSON.stringify({ id, ...question })}\n`);
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  /** Waits no more for answers. */
  giveUp(): void {
    this.#child.stdin?.write("end\n");
  }

  async end(): Promise<void> {
    this.ready.catch(() => undefined);
    this.#child.kill("SIGKILL");
    await this.#closed;
  }
}

/** See the header. */
export class Crowd implements AsyncDisposable {
  readonly #speakers: ReadonlyMap<string, Speaker>;

  private constructor(speakers: ReadonlyMap<string, Speaker>) {
    this.#speakers = speakers;
  }

  /** Starts the programs of all. */
  static async gather(members: readonly Member[], env: NodeJS.ProcessEnv): Promise<Crowd> {
    const crowd = new Crowd(new Map(members.map((one) => [one.name, new Speaker(one, env)])));
    try {
      await Promise.all([...crowd.#speakers.values()].map(({ ready }) => ready));
      return crowd;
    } catch (error) {
      await crowd[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Asks everything at once. Once those have answered who are to answer, the others have as long again, as it is a busy machine that takes long.
   * @param toAnswer who is to answer. @param ms how long their answers are waited for
   */
  async ask(probes: readonly Probe[], toAnswer: readonly boolean[], ms: number): Promise<boolean[]> {
    const start = performance.now();
    const asked = probes.map(({ from, ip, port: at }) => {
      const [protocol, port] = parts(at);
      return (this.#speakers.get(from) as Speaker).ask({ protocol, ip, port });
    });
    const wanted = Promise.all(asked.filter((_, i) => toAnswer[i]));
    await Promise.race([wanted, delay(ms, undefined, { ref: false })]);
    await delay(Math.max(LEAST_MS, performance.now() - start));
    for (const speaker of this.#speakers.values()) speaker.giveUp();
    return Promise.all(asked);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#speakers.values()].map((one) => one.end()));
  }
}
