/**
 * Ending connections that leave the cluster another way than they have to: the kernel translates all packets of a connection as it did the first. Their
 * next packet begins another one.
 */
import type { Logger } from "../../log/index.ts";
import { Task } from "../../reconcile/index.ts";
import { type Connection, Conntrack } from "../conntrack/index.ts";

/** @param judge tells those that are astray, as it is when the task runs; undefined where there can be none. @param netns the process's own by default */
export function astrayConnections(
  log: Logger,
  judge: () => ((connection: Connection) => boolean) | undefined,
  netns?: number,
): Task {
  return new Task(
    async () => {
      const isAstray = judge();
      if (!isAstray) return;
      using conntrack = Conntrack.open(netns);
      for (const connection of await conntrack.select(isAstray)) conntrack.delete(connection);
    },
    { baseMs: 1_000, maxMs: 60_000 },
    (error, attempt) => {
      if (attempt === 1)
        log.warn("connections of pods that leave the cluster another way now cannot be ended; trying again", { error });
    },
  );
}
