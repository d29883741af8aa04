/**
 * ADD of a pod with host ports: against one without, and against ptp with portmap behind it, which makes rules for each port. One port of TCP and one of
 * UDP, as a DNS server has; pods take turns, so that all see the same machine.
 */
import { type Contestant, reference, served } from "../support/contestants.ts";
import { type Context, type Measurement, native } from "../support/context.ts";
import { namespace } from "../support/namespace.ts";
import { type Call, runCalls } from "../support/plugins.ts";
import { compared, type Row, type RowHead } from "../support/row.ts";

const PORTS = ["tcp", "udp"].map((protocol) => ({ hostPort: 5353, containerPort: 53, protocol }));
const runtimeConfig = { portMappings: PORTS };

interface Times {
  add: number[];
  del: number[];
}

/** ADD and DEL of one pod by some plugins, each after the other's result, as a runtime calls a list. @returns milliseconds of each */
async function round(
  meter: string,
  node: string,
  pod: { containerId: string; netns: string },
  plugins: readonly Pick<Contestant, "path" | "config">[],
): Promise<{ add: number; del: number }> {
  let prevResult: unknown;
  let [add, del] = [0, 0];
  const call = async (command: Call["command"], { path, config }: Pick<Contestant, "path" | "config">) => {
    const whole = { ...config, ...(prevResult !== undefined && { prevResult }) };
    const { results } = await runCalls(meter, node, [{ ...pod, path, command, config: whole }]);
    return results[0] ?? { wall: 0, stdout: "" };
  };
  for (const plugin of plugins) {
    const { wall, stdout } = await call("ADD", plugin);
    add += wall;
    prevResult = JSON.parse(stdout);
  }
  for (const plugin of plugins.toReversed()) del += (await call("DEL", plugin)).wall;
  return { add, del };
}

export const hostPorts: Measurement = {
  name: "host-ports",
  title: "A pod's ADD and DEL with host ports",
  async run(context: Context): Promise<Row[]> {
    const skylane = await served(context);
    const ptp = reference(context, "ptp");
    const meter = native(context, "meter");
    const portmap = {
      path: "/usr/lib/cni/portmap",
      config: { cniVersion: "1.0.0", name: "ptp", type: "portmap", snat: true, runtimeConfig },
    };
    const mapped = { ...skylane, config: { ...skylane.config, runtimeConfig } };
    const contestants = [
      { node: skylane.node, plugins: [skylane] },
      { node: skylane.node, plugins: [mapped] },
      { node: ptp.node, plugins: [ptp, portmap] },
    ];
    const times = contestants.map((): Times => ({ add: [], del: [] }));
    const pods = contestants.map((_, at) => namespace(context, `ports${at}`).path);
    const count = context.quick ? 15 : 60;
    context.say(`${count} rounds of ADD and DEL of each`);
    // The first of an agent compile its code.
    for (let n = -20; n < count; n++)
      for (const [at, { node, plugins }] of contestants.entries()) {
        if (n < -2 && at === contestants.length - 1) continue;
        const pod = { containerId: `ports${n + 20}x${at}`, netns: pods[at] ?? "" };
        const { add, del } = await round(meter, node, pod, plugins);
        if (n < 0) continue;
        times[at]?.add.push(add);
        times[at]?.del.push(del);
      }
    const [plain, own, chained] = times as [Times, Times, Times];
    const head = (measure: string, atMost?: number): RowHead => ({
      group: "host-ports",
      measure,
      unit: "ms",
      ...(atMost !== undefined && { target: { of: "ratio", atMost } }),
    });
    return [
      compared(head("ADD with two host ports", 1.15), own.add, "the same without", plain.add),
      compared(head("ADD with two host ports", 0.4), own.add, "ptp + host-local, portmap", chained.add),
      compared(head("DEL with two host ports"), own.del, "the same without", plain.del),
      compared(head("DEL with two host ports"), own.del, "ptp + host-local, portmap", chained.del),
    ];
  },
};
