/** The files of the default network, and whether a write was a repair: the file should have said before what it says now. */
import { join } from "node:path";
import { type AgentConfig, publishedPath } from "../../config/index.ts";
import type { Logger } from "../../log/index.ts";
import type { LocalNetwork } from "../../peers/index.ts";
import { type ConflistInput, ensureConflist, PortmapPods, renderConflist } from "../../cni-server/index.ts";
import { ensurePublished, type PublishedExtra } from "../../network/index.ts";

/** Keeps them; the caller has seen the data path work, as both mean that pods may come. */
export class NodeFiles {
  readonly #config: AgentConfig;
  readonly #log: Logger;
  readonly #portmapPods: PortmapPods;
  readonly #repaired: (path: string) => void;
  /** What was last written, or found as it should be. */
  #published: string | undefined;
  #conflist: string | undefined;

  /** @param repaired hears of each file that somebody had changed or removed */
  constructor(config: AgentConfig, log: Logger, repaired: (path: string) => void) {
    this.#config = config;
    this.#portmapPods = new PortmapPods(config);
    this.#log = log;
    this.#repaired = repaired;
  }

  /** Whether pods run whose host ports the plugin portmap may have mapped, and those of new ones are ours. */
  get portmapped(): boolean {
    return this.#config.hostPorts === "own" && this.#portmapPods.there;
  }

  /** Makes both files say what they should; touches neither when it does. @throws Error of the system when one cannot be written. */
  write(local: LocalNetwork, extra: PublishedExtra, { runtimes }: Pick<ConflistInput, "runtimes"> = {}): void {
    const { network } = local;
    const { runDir, dataDir } = this.#config;
    const said = JSON.stringify([local, extra]);
    if (ensurePublished(runDir, local, extra, this.#log) && said === this.#published)
      this.#repaired(publishedPath(runDir, network));
    this.#published = said;
    const { portmapped } = this;
    const { hostPorts, bandwidth } = this.#config;
    const { confDir, confName, binDir, chained } = this.#config.cni;
    const input = { network, runDir, dataDir, chained, binDir, hostPorts, bandwidth, portmapped, runtimes };
    const text = renderConflist(input);
    const path = join(confDir, confName);
    if (ensureConflist(confDir, confName, text)) {
      if (text === this.#conflist) this.#repaired(path);
      else this.#log.info("wrote the CNI configuration", { file: path });
    }
    this.#conflist = text;
  }
}
