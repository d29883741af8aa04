/** What the CNI plugin is told of a network on this node, and who waits for that. */
import { CniError, CODE } from "../cni/index.ts";
import { type AgentConfig, publishedPath } from "../config/index.ts";
import type { Logger } from "../log/index.ts";
import type { NetworkNetns } from "../dataplane/netns/index.ts";
import type { PodNetworkInfo } from "../crd/index.ts";
import type { LocalNetwork } from "../peers/index.ts";
import { rmSync } from "node:fs";
import { bridgeOf } from "../data-path/index.ts";
import { within } from "../reconcile/index.ts";
import { ensurePublished, type PublishedExtra } from "../network/index.ts";
import type { Question } from "../observe/index.ts";

/** A network comes, but did not within the time that the start of a pod waits. */
export class NotReadyYet extends CniError {}

/** See the header. */
export class InstanceFiles {
  readonly #runDir: string;
  readonly #info: PodNetworkInfo;
  readonly #netns: Pick<NetworkNetns, "path">;
  readonly #log: Logger;
  readonly #repaired: (path: string, network: string) => void;
  #written: LocalNetwork | undefined;
  #waiting: (() => void)[] = [];

  /** @param repaired told when a file was not what it was when it was last written */
  constructor(
    { runDir }: Pick<AgentConfig, "runDir">,
    info: PodNetworkInfo,
    netns: Pick<NetworkNetns, "path">,
    log: Logger,
    repaired: (path: string, network: string) => void,
  ) {
    this.#repaired = repaired;
    this.#runDir = runDir;
    this.#info = info;
    this.#netns = netns;
    this.#log = log;
  }

  /** Tells it. @throws Error of the system */
  write(local: LocalNetwork): void {
    const { mode, cidrs } = this.#info;
    // On a bridge the others are on the pod's own link.
    const reach: PublishedExtra = mode === "Bridged" ? { bridge: bridgeOf(this.#info) } : { destinations: [...cidrs] };
    const extra = { hostNetns: this.#netns.path, ...reach, needsAgent: true };
    const wrote = ensurePublished(this.#runDir, local, extra, this.#log);
    if (wrote && this.#written === local) this.#repaired(publishedPath(this.#runDir, this.#info.name), this.#info.name);
    this.#written = local;
    for (const tell of this.#waiting.splice(0)) tell();
  }

  /** Resolves when it can give addresses out of all these. @throws CniError 11 with the first question that is not answered */
  async whenWritten(podCidrs: readonly string[], questions: () => Question[], limitMs: number): Promise<void> {
    const wanted = podCidrs.join(" ");
    while (this.#written?.podCidrs.join(" ") !== wanted) {
      const next = new Promise<void>((resolve) => this.#waiting.push(resolve));
      await within(next, limitMs, () => this.#notReady(questions()));
    }
  }

  /** Takes it back. */
  remove(): void {
    rmSync(publishedPath(this.#runDir, this.#info.name), { force: true });
  }

  #notReady(questions: readonly Question[]): NotReadyYet {
    const unmet = questions.find(({ name, ask }) => name !== "published" && !ask().ok);
    const why = unmet ? `${unmet.name}: ${unmet.ask().message}` : "its files are not written yet";
    return new NotReadyYet(
      CODE.tryAgain,
      `pod network "${this.#info.name}" is not ready on this node yet (${why})`,
      "The data path is being made; the agent's log says what it waits for.",
    );
  }
}
