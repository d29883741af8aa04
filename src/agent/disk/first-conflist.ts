/**
 * Whether the runtime takes our CNI configuration: it takes the first one by name. Another one in front means that pods are
 * made by another plugin, or by none, while everything of ours works; so it is said at once, and the node is not ready.
 */
import { join } from "node:path";
import type { Logger } from "../../log/index.ts";
import { conflistsBefore } from "../../cni-server/index.ts";
import type { CheckResult } from "../../observe/index.ts";

export interface FirstConflistOptions {
  confDir: string;
  confName: string;
  log: Pick<Logger, "info" | "warn">;
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
}

/** Says each change once. */
export class FirstConflist {
  readonly #options: FirstConflistOptions;
  #before = "";

  constructor(options: FirstConflistOptions) {
    this.#options = options;
  }

  /** As of the last look. */
  get verdict(): CheckResult {
    const { confDir, confName } = this.#options;
    return this.#before === ""
      ? { ok: true, message: `no CNI configuration in ${confDir} sorts before ${confName}` }
      : { ok: false, message: this.#inWords() };
  }

  /** @throws Error of readdir(3) */
  look(): void {
    const { confDir, confName, log, event } = this.#options;
    const before = conflistsBefore(confDir, confName)
      .map((name) => join(confDir, name))
      .join(", ");
    if (before === this.#before) return;
    this.#before = before;
    if (before === "") log.info(`no other CNI configuration sorts before ${confName} any more`);
    else {
      log.warn(this.#inWords());
      event("Warning", "SkylaneCniConfigNotFirst", this.#inWords());
    }
  }

  #inWords(): string {
    const { confName } = this.#options;
    return (
      `${this.#before} sorts before ${confName}: the container runtime uses that CNI configuration, and new pods do not ` +
      `join Skylane's network; remove it when Skylane is to make the pods of this node`
    );
  }
}
