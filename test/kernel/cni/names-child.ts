/**
 * An agent in small, for tests of the names that launchers give: the real server of CNI requests, in the mount and network
 * namespace in which it is started. Before an ADD it does what the file `wanted.json` in its run directory says, and says
 * on its IPC channel which namespaces it has.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CniServer } from "../../../src/cni-server/cni-server.ts";
import { realHost } from "../../../src/cni/index.ts";
import type { NetnsMounter } from "../../../src/dataplane/netns/index.ts";
import { closeFd, netnsIdentity, newNetns, openNetns } from "../../../src/sys/index.ts";

/** One step: give a name to the namespace of that label, take it away, or find what is behind it here. */
export type Step = { hold: string; label: string } | { release: string } | { find: string; label: string };

/** What it says: that it listens, or the inode number of a label's namespace. */
export type Said = "listening" | { label: string; inode: number };

const runDir = process.argv[2] as string;
const namespaces = new Map<string, number>();
const say = (said: Said): void => void process.send?.(said);

function namespaceOf(label: string, open: () => number = newNetns): number {
  const fd = namespaces.get(label) ?? open();
  namespaces.set(label, fd);
  say({ label, inode: netnsIdentity(fd).ino });
  return fd;
}

async function run(step: Step, names: NetnsMounter): Promise<void> {
  if ("hold" in step) await names.hold(step.hold, namespaceOf(step.label));
  else if ("release" in step) await names.release(step.release);
  else namespaceOf(step.label, () => openNetns(join("/run/netns", step.find)));
}

const log = {
  error: (message: string) => void process.stderr.write(`${message}\n`),
  warn: (message: string) => void process.stderr.write(`${message}\n`),
  info: () => undefined,
  debug: () => undefined,
  enabled: () => true,
  child: () => log,
};
const server = await CniServer.listen({
  runDir,
  dataDir: join(runDir, "data"),
  log,
  host: (names) => ({
    ...realHost,
    prepare: async () => {
      const steps = JSON.parse(readFileSync(join(runDir, "wanted.json"), "utf8")) as Step[];
      for (const step of steps) await run(step, names);
      return { additional: [] };
    },
  }),
});
process.once("SIGTERM", () => {
  void server.close().finally(() => {
    for (const fd of namespaces.values()) closeFd(fd);
    process.disconnect?.();
  });
});
say("listening");
