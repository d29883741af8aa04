/**
 * A node's first process. It was started in namespaces of its own (network, mounts, processes, host name): it makes
 * the node's root file system, waits until its cable is plugged in, and then runs what runs on every node: kubelet's
 * heartbeat and the agent. When it ends, the kernel takes everything that belongs to the node with it; that is
 * the power switch.
 */
import { writeSync } from "node:fs";
import type { ApiAccess } from "../api-client.ts";
import { Kubelet } from "./kubelet.ts";
import { enterRoot, type RootSpec } from "./root.ts";
import { Supervisor } from "./supervisor.ts";

/** What the lab tells a node when it is switched on. */
export interface MachineSpec {
  node: string;
  root: RootSpec;
  addresses: { type: string; address: string }[];
  api: ApiAccess;
  /** The agent's command line. */
  agent: string[];
}

/** What a node and the lab say to each other while it boots. */
export type FromMachine = { state: "mounted" } | { state: "started" } | { state: "failed"; message: string };
export type ToMachine = { spec: MachineSpec } | { go: true };

const AGENT_LOG = "/var/log/skylane-agent.log";
const AGENT_GRACE_MS = 3000;

const log = (text: string): void => {
  writeSync(2, `${new Date().toISOString()} ${text}\n`);
};

/** Runs the node until it is switched off; resolves with the exit status. */
export function runMachine(): Promise<number> {
  return new Promise((resolve) => {
    let agent: Supervisor | undefined;
    let kubelet: Kubelet | undefined;
    let spec: MachineSpec | undefined;
    const tell = (message: FromMachine): void => {
      process.send?.(message);
    };
    const boot = async (told: MachineSpec): Promise<void> => {
      spec = told;
      await enterRoot(told.root);
      tell({ state: "mounted" });
    };
    const go = (): void => {
      if (!spec) throw new Error("told to go before being told what to be");
      const { node, addresses, api } = spec;
      agent = new Supervisor({ argv: spec.agent, env: process.env, logFile: AGENT_LOG, log });
      kubelet = new Kubelet({ node, addresses, api, bootId: spec.root.bootId, log });
      agent.start();
      kubelet.start();
      log(`${node} is up`);
      tell({ state: "started" });
    };
    const fail = (error: unknown): void => {
      const message = error instanceof Error ? error.message : String(error);
      log(`boot failed: ${message}`);
      tell({ state: "failed", message });
      resolve(1);
    };
    process.on("message", (message: ToMachine) => {
      if ("spec" in message) boot(message.spec).catch(fail);
      else {
        try {
          go();
        } catch (error) {
          fail(error);
        }
      }
    });
    process.once("disconnect", () => {
      // Whoever switched it on is gone before it was plugged in: nobody will ever do that now.
      if (!agent) resolve(1);
    });
    process.once("SIGTERM", () => {
      kubelet?.stop();
      void (agent?.stop(AGENT_GRACE_MS) ?? Promise.resolve()).then(() => resolve(0));
    });
  });
}
