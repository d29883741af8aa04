// npm run dev [-- lab options]: a lab that follows the sources. It brings a lab up, and after each change under src/, lab/ or
// cmd/ builds again and restarts the agent of every node (pods and data path stay). Ctrl-C takes the lab down.
//
//   npm run dev                          three nodes, a lab named "dev"
//   npm run dev -- --nodes 2             options of `skylanectl lab up`
import { spawn, spawnSync } from "node:child_process";
import { watch } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const NAME = "dev";
/** An editor writes several files, or one of them several times, in one go. */
const SETTLE_MS = 200;
const ctl = join(root, "dist", "bin", "skylanectl");
const say = (text) => console.log(`dev: ${text}`);
const build = () => spawnSync("node", ["scripts/build.mjs"], { cwd: root, stdio: "inherit" }).status === 0;
const lab = (...args) => spawnSync(ctl, ["lab", ...args, "--name", NAME], { stdio: "inherit" }).status === 0;
/** Names of the nodes that the API server of the lab knows. */
const nodes = () => {
  const args = ["lab", "api", "get", "/api/v1/nodes", "--name", NAME];
  const { stdout } = spawnSync(ctl, args, { encoding: "utf8" });
  return JSON.parse(stdout).items.map(({ metadata }) => metadata.name);
};

/** Builds, and restarts the agents when that worked; one after the other, so that none starts on half a build. */
function renew(changed) {
  say(`${changed} changed: building`);
  if (!build()) return say("the build failed; the agents run on as they were");
  for (const node of nodes()) {
    spawn(ctl, ["lab", "exec", node, "--name", NAME, "--", "pkill", "-TERM", "-f", "skylane-agent.cjs"], {
      stdio: ["ignore", "ignore", "inherit"],
    });
  }
  return say("the agents restart on the new build");
}

if (!build()) process.exit(1);
if (!lab("up", ...process.argv.slice(2))) process.exit(1);
say(`the lab "${NAME}" is up; logs: dist/bin/skylanectl lab logs --name ${NAME} node1`);

let timer;
const watchers = ["src", "cmd", "lab"].map((folder) =>
  watch(join(root, folder), { recursive: true }, (_, file) => {
    clearTimeout(timer);
    timer = setTimeout(renew, SETTLE_MS, join(folder, file ?? ""));
  }),
);
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    clearTimeout(timer);
    for (const watcher of watchers) watcher.close();
    process.exitCode = lab("down") ? 0 : 1;
  });
}
