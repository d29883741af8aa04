/** What goes along with the default network's data path where it is configured: encryption between nodes, the fast path, probes and flows. */
import type { AgentConfig } from "../../config/index.ts";
import {
  accompaniedPath,
  type Companion,
  type MakeDataPath,
  type MeasuredMtus,
  narrowedPath,
} from "../../data-path/index.ts";
import type { Encryption } from "../../dataplane/encryption/index.ts";
import type { FastPath } from "../../dataplane/fast-path/index.ts";
import type { FlowNetwork, FlowsOfNetwork } from "../../flows/index.ts";
import type { Routes } from "../../http/index.ts";
import type { Logger } from "../../log/index.ts";
import type { Rtnl } from "../../netlink/index.ts";
import type { AgentStatus, Metrics, Question } from "../../observe/index.ts";
import type { WireguardIdentity } from "../../peers/index.ts";
import type { Probes } from "../../probes/index.ts";
import type { Duty } from "../disk/control-loop.ts";
import { encryptionOf, encryptionRoutes, startEncryption } from "./encryption.ts";
import { clearFastPath, startFastPath } from "./fast-path.ts";
import { flowRoutes, type FlowsOfAgent, flowsOf, type FlowsOfAgentOptions, joinFlows } from "./flows.ts";
import { probeRoutes, probesOf } from "./probing.ts";

export interface BesideOptions extends Pick<FlowsOfAgentOptions, "client" | "whoHas" | "nodeOf" | "nodeIps"> {
  config: AgentConfig;
  log: Logger;
  metrics: Metrics;
  rtnl: Rtnl;
  watch: Parameters<typeof startFastPath>[1]["watch"];
  /** See {@link InstanceContext}. */
  settled: Promise<void>;
  warn: (reason: string, message: string) => void;
  /** Pod networks beside the default one, whose fast paths are counted with it. */
  further: Parameters<typeof startFastPath>[1]["further"];
  /** What the other nodes are to know, or whether this node is ready, may have changed. */
  onState: () => void;
}

/** See the header. */
export class Beside {
  readonly #options: BesideOptions;
  readonly #encryption: Encryption | undefined;
  readonly #probes: Probes | undefined;
  readonly #flows: FlowsOfAgent | undefined;
  #fastPath: FastPath | undefined;

  constructor(options: BesideOptions) {
    this.#options = options;
    this.#encryption = encryptionOf(options.config, options);
    this.#probes = probesOf(options.config, options);
    this.#flows = flowsOf(options.config, options);
  }

  /** Before anything of a network is there. @throws Error where encryption is strict and what is in the clear cannot be kept back */
  async start(): Promise<void> {
    const { config, rtnl, log, metrics, further, watch, settled: begin } = this.#options;
    await startEncryption(this.#encryption, rtnl, log);
    if (config.fastPath === "auto")
      this.#fastPath = startFastPath(config.network, { log, metrics, further, watch, begin });
    else clearFastPath(rtnl, log);
  }

  /** Once policies are known, by which flows are named. */
  listen(): void {
    this.#flows?.start();
  }

  /** A data path with all of them beside it, and others. */
  readonly accompany = (ordinary: MakeDataPath, ...others: readonly Companion[]): MakeDataPath => {
    const beside = (make: MakeDataPath, ...companions: (Companion | undefined)[]): MakeDataPath =>
      accompaniedPath(
        make,
        companions.filter((one) => one !== undefined),
      );
    // What was measured of the way to a peer is for whoever sends there.
    const sending = beside(ordinary, this.#fastPath);
    const narrowed = this.#probes ? narrowedPath(sending, this.#probes.mtus) : sending;
    return beside(narrowed, this.#encryption, this.#probes, ...others);
  };

  /** What was measured of tunnels, for pod networks beside the default one: theirs meet the same underlay. */
  get mtus(): MeasuredMtus | undefined {
    const mtus = this.#probes?.mtus;
    return mtus && { of: (node) => mtus.inTunnel(node), follow: (onChange) => mtus.follow(onChange) };
  }

  /** How this node takes what is encrypted. */
  get wireguard(): WireguardIdentity | undefined {
    return this.#encryption?.identity;
  }

  /** A packet was denied by a policy. */
  denied(...denied: Parameters<FlowsOfAgent["flows"]["denied"]>): void {
    this.#flows?.flows.denied(...denied);
  }

  /** This node takes part in a pod network that follows connections in a namespace of its own, until what is returned is closed. */
  readonly join = (network: FlowNetwork): FlowsOfNetwork => joinFlows(this.#flows?.flows, network, this.#options.log);

  /** Lines of `/readyz`. */
  get questions(): Question[] {
    const encryption = this.#encryption;
    return encryption ? [{ name: "encryption", ask: () => encryption.verdict }] : [];
  }

  /** What of the disk is to be looked after. */
  get duties(): Duty[] {
    const encryption = this.#encryption;
    return encryption ? [{ kind: "key", what: "the key of this node", keep: () => encryption.keepKey() }] : [];
  }

  /** Their parts of `/status`. */
  status(): Pick<AgentStatus, "encryption" | "fastPath" | "flows" | "probes"> {
    return {
      ...(this.#encryption && { encryption: this.#encryption.status() }),
      ...(this.#fastPath && { fastPath: this.#fastPath.status() }),
      ...(this.#flows && { flows: this.#flows.flows.status() }),
      ...(this.#probes && { probes: this.#probes.status() }),
    };
  }

  /** Their documents. */
  get routes(): Routes {
    return { ...encryptionRoutes(this.#encryption), ...probeRoutes(this.#probes), ...flowRoutes(this.#flows?.flows) };
  }

  /** Stops all; encryption, being part of the data path, stays as it is in the kernel. */
  async stop(): Promise<void> {
    await Promise.all([this.#encryption?.stop(), this.#probes?.stop(), this.#flows?.stop(), this.#fastPath?.stop()]);
  }
}
