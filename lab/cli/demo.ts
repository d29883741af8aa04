/** `lab demo`: the main job, or pod networks, shown and checked step by step, each in well under a minute. */
import { relative } from "node:path";
import { type Command, describeError, type LiveMap, liveMap, UsageError } from "../../src/cli/index.ts";
import { FUNCTIONS } from "../demo/functions.ts";
import { NETWORKS } from "../demo/networks.ts";
import { OVERLAY } from "../demo/overlay.ts";
import { POLICY } from "../demo/policy.ts";
import { NotShown, type Step } from "../demo/step.ts";
import { Lab } from "../lab.ts";
import { interruptible, NAME, print } from "./common.ts";

const bold = (text: string): string => (process.stdout.isTTY ? `\x1b[1m${text}\x1b[0m` : text);
const dim = (text: string): string => (process.stdout.isTTY ? `\x1b[2m${text}\x1b[0m` : text);

const heading = (number: number, title: string, why: string): string =>
  `\n${bold(`${number}. ${title}`)}\n${dim(why)}\n\n`;

/** The demos by what they show. */
const DEMOS: Readonly<Record<string, readonly Step[]>> = {
  overlay: OVERLAY,
  networks: NETWORKS,
  policy: POLICY,
  functions: FUNCTIONS,
};

/** @throws UsageError when there is no such demo */
function stepsOf(name: string): readonly Step[] {
  const steps = Object.hasOwn(DEMOS, name) ? DEMOS[name] : undefined;
  if (!steps) throw new UsageError(`no demo "${name}"; there are ${Object.keys(DEMOS).join(", ")}`);
  return steps;
}

/** @returns how many of the steps this machine could show */
async function runSteps(lab: Lab, steps: readonly Step[], signal: AbortSignal): Promise<number> {
  let shown = 0;
  for (const [i, step] of steps.entries()) {
    signal.throwIfAborted();
    await print(heading(i + 1, step.title, step.why));
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
    try {
      await Promise.race([step.run(lab, print), aborted]);
      shown++;
    } catch (error) {
      if (!(error instanceof NotShown)) throw error;
      await print(`NOT SHOWN: ${error.message}\n`);
    }
  }
  return shown;
}

function lookAround(lab: Lab): string {
  const ctl = relative(process.cwd(), `${lab.context.binDir}/skylanectl`);
  const name = `--name ${lab.name}`;
  return `
The lab is still up. Look around:
  ${ctl} lab status ${name}
  ${ctl} lab ping ${name}
  ${ctl} lab exec node1 ${name} -- bash
  ${ctl} lab logs node1 ${name}
  ${ctl} lab drift ${name}
  ${ctl} lab --help
Take it down:
  ${ctl} lab down ${name}
`;
}

function tryIt({ context, name }: Lab, { url }: LiveMap): string {
  const ctl = relative(process.cwd(), `${context.binDir}/skylanectl`);
  return `
The lab is still up, and the map goes on: ${url}
Try, in another terminal, and watch:
  ${ctl} lab pod add node1 web --name ${name}
  ${ctl} lab pod move web node2 --name ${name}
  ${ctl} lab drift --name ${name}
  ${ctl} lab partition node3 --name ${name}
  ${ctl} lab heal --name ${name}
  ${ctl} lab node kill node3 --name ${name}
Ctrl-C ends it.
`;
}

/** The command. */
export const demoCommand: Command = {
  words: ["lab", "demo"],
  summary: "Shows what Skylane does, on a cluster of three nodes made for it",
  operands: "[overlay|networks|policy|functions]",
  count: [0, 1],
  options: {
    ...NAME,
    keep: { help: "leave the lab up" },
    ui: { help: "show it in a browser, too, and go on until Ctrl-C when the steps are done" },
  },
  details:
    "overlay (the default): nodes, pods, entries, a node that joins, repairs. networks: two tenants with the same\n" +
    "addresses, and a workload that moves to another node under a running ping and a connection.\n" +
    "policy: a shop whose parts may talk to each other as its policies say, and in no other way.\n" +
    "functions: ports of the node, bandwidth, a known address on the way out, encryption.\n\n" +
    "Exit status 0 when everything that it shows held, 1 otherwise; steps that this machine's kernel cannot show are\n" +
    "named and left out. Cleans up after itself, also on Ctrl-C.",
  async run(input) {
    const steps = stepsOf(input.operands[0] ?? "overlay");
    const name = input.text("name") ?? "demo";
    const ui = input.flag("ui");
    const start = performance.now();
    if ((await Lab.down(name)) !== undefined) await print(`(an earlier lab "${name}" was taken down)\n`);
    await print(`${bold("Skylane")}: a cluster on this machine; nothing touches the machine's own network.\n`);
    let keep = false;
    let lab: Lab | undefined;
    let map: LiveMap | undefined;
    let shown = 0;
    try {
      await interruptible(async (signal) => {
        lab = await Lab.up({ name, nodes: 3, signal, ...(ui && { agentConfig: { flows: "on", probes: "on" } }) });
        if (ui) {
          map = await lab.show();
          await print(`\nThe live map: ${bold(map.url)}\n`);
        }
        shown = await runSteps(lab, steps, signal);
      });
      if (map && lab) {
        await print(tryIt(lab, map));
        await (await liveMap()).interrupted();
      }
      keep = input.flag("keep");
    } catch (error) {
      await print(`\nFAILED: ${describeError(error)}\n`);
      return 1;
    } finally {
      await map?.close();
      lab?.close();
      if (!keep) await Lab.down(name);
    }
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    const held =
      shown === steps.length
        ? `All ${shown} steps held`
        : `${shown} of ${steps.length} steps held, and this kernel cannot show the others`;
    await print(`\n${bold(held)}, in ${seconds} s.`);
    await print(keep && lab ? `\n${lookAround(lab)}` : ` Nothing of it is left on this machine.\n`);
    return 0;
  },
};
