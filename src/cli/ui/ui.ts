/** The live map from its start to its end: read from a cluster, served to this machine. */
import type { Cluster } from "./cluster.ts";
import { AgentFeed } from "./feed/agents.ts";
import { ObjectFeed } from "./feed/objects.ts";
import { World } from "./model/world.ts";
import { serveMap } from "./serve/server.ts";
import { Traces } from "./serve/trace.ts";

/** A map that is shown. */
export interface LiveMap {
  /** Address of the page, with its token. */
  readonly url: string;
  /** Ends it, and closes the cluster. */
  close(): Promise<void>;
}

/** Shows a cluster, which is closed with the map, also where there comes to be none. @param port 0 for any that is free. @throws CommandError when it cannot listen */
export async function showMap(cluster: Cluster, port = 0): Promise<LiveMap> {
  const world = new World(cluster.title, Date.now);
  const server = await serveMap(world, new Traces(world, (node, words) => cluster.run(node, words)), port).catch(
    async (error: unknown) => {
      await cluster.close();
      throw error;
    },
  );
  const [objects, agents] = [new ObjectFeed(cluster.api, world), new AgentFeed(cluster, world)];
  objects.start();
  agents.start();
  return {
    url: server.url,
    close: async () => {
      await server.close();
      await Promise.all([objects.stop(), agents.stop()]);
      await cluster.close();
    },
  };
}

/** Resolves when somebody wants it to end: Ctrl-C, SIGTERM, a terminal that is closed. */
export function interrupted(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const names: NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];
  const end = (): void => {
    for (const name of names) process.off(name, end);
    resolve();
  };
  for (const name of names) process.on(name, end);
  return promise;
}
