/**
 * Pods whose host ports the plugin portmap may have mapped: those that came before host ports were ours. Only that plugin can take its
 * rules away, and runtimes call on DEL the plugins that are in the configuration list then. So it stays there for as long as one of these pods
 * runs, without the capability by which it is told of ports: for new pods it does nothing.
 */
import { type AttachmentRecord, newAttachments } from "../cni/index.ts";
import { bootId } from "../sys/index.ts";

/** How soon it is looked again, in milliseconds: a pod more or less is no haste. */
const LOOK_MS = 10_000;

/** See the header. */
export class PortmapPods {
  readonly #of: { dataDir: string; network: string };
  #known = new Map<string, AttachmentRecord>();
  #answer = { there: false, until: Number.NEGATIVE_INFINITY };

  constructor(of: { dataDir: string; network: string }) {
    this.#of = of;
  }

  /** Whether there are any, as far as records of attachments can be read. */
  get there(): boolean {
    const now = performance.now();
    if (now >= this.#answer.until) this.#answer = { there: this.#look(), until: now + LOOK_MS };
    return this.#answer.there;
  }

  #look(): boolean {
    try {
      this.#known = newAttachments(this.#of).byFile(this.#known);
    } catch {
      return true; // nobody can tell; others say what is wrong with the disk
    }
    const boot = bootId();
    // Rules do not outlive a boot.
    return [...this.#known.values()].some((record) => record.bootId === boot && record.hostPorts === undefined);
  }
}
