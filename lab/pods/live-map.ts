/** The live map of a lab: what `kubectl skylane ui` shows of a cluster, read from the lab's own API server and its nodes' agents. */
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { askAgent, type Cluster, liveMap, type LiveMap } from "../../src/cli/index.ts";
import { apiRecord, initOf } from "../cluster/context.ts";
import { tryRun } from "../exec.ts";
import { hasObject } from "./pod-objects.ts";
import type { Lab } from "../lab.ts";

/** Agents are asked on their own sockets, which costs next to nothing. */
const EVERY_MS = 500;
const ANSWER_MS = 2_000;
/** Flows of the last so many milliseconds. */
const FLOWS_MS = 10_000;

/** Shows a lab. @param port 0 for any that is free. @throws CommandError when it cannot listen */
export async function showLab(lab: Lab, port = 0): Promise<LiveMap> {
  const { showMap } = await liveMap();
  return await showMap(await clusterOf(lab), port);
}

async function clusterOf(lab: Lab): Promise<Cluster> {
  const { connectBy } = await import("../../src/kube/index.ts");
  const { url, caPem, token } = apiRecord(lab.context);
  const host = new URL(url).hostname.replace(/^\[|\]$/g, "");
  const api = connectBy({
    server: url,
    // This machine has no way into the lab's network.
    open: () => connectTls({ socket: connectSocket(lab.context.files.path("api.sock")), ca: caPem, host }),
    headers: { authorization: `Bearer ${token}` },
  });
  return {
    title: `lab ${lab.name}`,
    api,
    everyMs: EVERY_MS,
    ask: async (node, question) => {
      const socket = `/proc/${initOf(lab.node(node))}/root/run/skylane/agent.sock`;
      const path = question === "flows" ? `/flows?since=${Date.now() - FLOWS_MS}` : `/${question}`;
      return JSON.parse(await askAgent(path, socket, ANSWER_MS)) as unknown;
    },
    run: (node, words) =>
      tryRun(lab.enter(node, join(lab.context.binDir, "skylanectl"), ...words), { env: lab.context.env }),
    // A pod of the lab has an object only where somebody has to read what it asks for.
    pods: () =>
      lab
        .pods()
        .filter((pod) => !hasObject(pod))
        .map(({ namespace, name, node, ips }) => ({
          key: `${namespace}/${name}`,
          node,
          phase: "Running",
          ips,
          further: [],
        })),
    close: () => api.close(),
  };
}
