/** What it costs an agent to measure the peers of a large cluster: the code of the agent, in a process that does nothing else, with peers that all answer. */
import { setTimeout as pause } from "node:timers/promises";
import type { Context, Measurement } from "../support/context.ts";
import { cable, namespace } from "../support/namespace.ts";
import { asked, memoryOf } from "../support/process.ts";
import { alone, type Row } from "../support/row.ts";

const PEERS = 5_000;
/** The start is over by then, and V8 has compiled what runs once a second: in its first minute it takes half as much again. */
const SETTLED_MS = { quick: 5_000, whole: 120_000 };

interface Sample {
  answered: number;
  lost: number;
  cpuMs: number;
  at: number;
}

/** A process with probes of so many peers, measured for some seconds. */
async function run(
  context: Context,
  peers: number,
  seconds: number,
): Promise<{ cpu: number; packets: number; lost: number; memory: number }> {
  const [near, far] = [namespace(context, "near"), namespace(context, "far")];
  cable(near, "eth0", far, "eth0");
  // All addresses of these prefixes are the far end's own.
  const routes = [
    ["-4", "172.16.0.0/12", "192.0.2.1"],
    ["-4", "10.0.0.0/8", "192.0.2.1"],
    ["-6", "fd10::/16", "fd20::1"],
  ] as const;
  for (const [ns, host] of [
    [near, 0],
    [far, 1],
  ] as const) {
    ns.exec("ip", "addr", "add", `192.0.2.${host}/31`, "dev", "eth0");
    ns.exec("ip", "addr", "add", `fd20::${host}/127`, "dev", "eth0", "nodad");
  }
  for (const [family, prefix, via] of routes) {
    near.exec("ip", family, "route", "add", prefix, "via", via, "dev", "eth0");
    far.exec("ip", family, "route", "add", "local", prefix, "dev", "lo");
  }
  const { child, sample, dismiss } = asked<Sample>(context, near, "bench/simulator/probes-child.ts", String(peers));
  await pause(context.quick || peers === 0 ? SETTLED_MS.quick : SETTLED_MS.whole);
  const before = await sample();
  await pause(seconds * 1_000);
  const after = await sample();
  const memory = memoryOf(child.pid as number);
  dismiss();
  const ms = after.at - before.at;
  return {
    cpu: ((after.cpuMs - before.cpuMs) / ms) * 100,
    packets: ((after.answered + after.lost - before.answered - before.lost) / ms) * 1_000,
    lost: after.lost,
    memory,
  };
}

export const probes: Measurement = {
  name: "probes",
  title: "Measuring the peers of a large cluster",
  async run(context) {
    const peers = context.nodes ?? PEERS;
    const seconds = context.quick ? 10 : 60;
    context.say(`probes of ${peers} peers for ${seconds} seconds`);
    const [few, many] = [await run(context, 0, 1), await run(context, peers, seconds)];
    const row = (measure: string, unit: Row["unit"], value: number, atMost?: number, note?: string): Row =>
      alone(
        {
          group: "probes",
          measure: `${peers.toLocaleString("en")} peers, two families: ${measure}`,
          unit,
          ...(atMost !== undefined && { target: { of: "value", atMost } }),
          ...(note !== undefined && { note }),
        },
        [value],
      );
    return [
      row("CPU, of a core", "%", many.cpu, 0.2),
      row("packets sent", "1/s", many.packets, 20, `${many.lost} were not answered`),
      row("memory beside that of no peers", "MB", many.memory - few.memory),
    ];
  },
};
