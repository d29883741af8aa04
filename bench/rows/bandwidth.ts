/**
 * Limits of pods, on one node and against what they say: how exact they are over ten seconds, what waits how long behind a stream that fills one, what a pod
 * beside it notices, and what the queues cost. Beside it the plugin bandwidth behind ptp, with the burst that containerd passes to either.
 *
 * A limit counts frames with their Ethernet header, each segment of a packet that is put together (GSO) with its own. A stream's rate is counted the same way:
 * the bytes that its receiver has read, and for each full segment of them its headers.
 */
import { setTimeout as pause } from "node:timers/promises";
import { type Contestant, reference, served } from "../support/contestants.ts";
import { type Context, type Measurement, native } from "../support/context.ts";
import { type Namespace, namespace } from "../support/namespace.ts";
import { measure, MTU, serve, SLICE_MS } from "../support/paths.ts";
import { type Call, runCalls } from "../support/plugins.ts";
import { ended, until } from "../support/process.ts";
import { compared, type Row, type RowHead } from "../support/row.ts";
import { median } from "../support/stats.ts";

const DIRECTIONS = ["received", "sent"] as const;
type Direction = (typeof DIRECTIONS)[number];
/** Bits a second. */
const LIMITS = [1e6, 1e7, 1e8, 1e9, 1e10];
/** The one under which latency and neighbours are looked at. */
const USUAL = 1e8;
/** None is ever reached: what is left is what the queues cost. */
const BEYOND = 1e12;
/** What containerd passes for a burst, in bits. */
const BURST = 2 ** 32 - 1;
/** Headers of IPv4, and of TCP with timestamps; and of Ethernet. */
const [SEGMENT_HEADERS, FRAME_HEADER] = [20 + 32, 14];
/** Bytes of frames for each byte of a stream. */
const FRAMES = (Number(MTU) + FRAME_HEADER) / (Number(MTU) - SEGMENT_HEADERS);

interface Pod {
  ns: Namespace;
  address: string;
  del(): Promise<void>;
}
type Plugin = Pick<Contestant, "path" | "config">;

interface Tools {
  meter: string;
  flow: string;
}

/** A node, and how it makes pods. */
interface Place {
  name: string;
  pod(limit?: number): Promise<Pod>;
}

/** @param plugins each after the other's result, as a runtime calls a list */
function place(context: Context, tools: Tools, name: string, node: string, plugins: readonly Plugin[]): Place {
  const { meter, flow } = tools;
  let made = 0;
  const call = async (
    command: Call["command"],
    at: Plugin,
    more: object,
    which: Pick<Call, "containerId" | "netns">,
  ) => {
    const config = { ...at.config, ...more };
    const { results } = await runCalls(meter, node, [{ ...which, path: at.path, command, config }]);
    return results[0]?.stdout ?? "";
  };
  return {
    name,
    async pod(limit) {
      const ns = namespace(context, "limited");
      const which = { containerId: `limited${++made}`, netns: ns.path };
      const bandwidth = { ingressRate: limit, ingressBurst: BURST, egressRate: limit, egressBurst: BURST };
      const runtimeConfig = limit === undefined ? {} : { bandwidth };
      let result: { ips: { address: string }[] } | undefined;
      for (const plugin of plugins) {
        const prevResult = result;
        result = JSON.parse(await call("ADD", plugin, { runtimeConfig, ...(prevResult && { prevResult }) }, which));
      }
      const address = result?.ips[0]?.address.replace(/\/.*/, "") ?? "";
      await serve(context, flow, { to: ns, address }, ["stream"]);
      const del = async (): Promise<void> => {
        for (const plugin of plugins.toReversed()) await call("DEL", plugin, { runtimeConfig }, which);
      };
      return { ns, address, del };
    },
  };
}

/** A stream, or requests, by a limited pod's queue in one direction, to or from another one. */
const way = (direction: Direction, limited: Pod, other: Pod) => {
  const [from, to] = direction === "received" ? [other, limited] : [limited, other];
  return { from: from.ns, address: to.address };
};

/** Mbit/s in frames, of a stream of so many seconds. */
const rateOf = (flow: string, path: ReturnType<typeof way>, seconds: number): number =>
  1e3 * FRAMES * measure(flow, path, "stream", seconds * 1e3);

const limitText = (bits: number): string => (bits < 1e9 ? `${bits / 1e6} Mbit/s` : `${bits / 1e9} Gbit/s`);
const LATENCY_SECONDS = 600;

/** Fills a limit by a stream, and resolves when what passed as a burst is over. Ends with what is returned. */
async function filled(context: Context, flow: string, path: ReturnType<typeof way>, limit: number) {
  const args = ["stream", path.address, "5201", String(LATENCY_SECONDS * 1e3)];
  const stream = path.from.spawn(flow, args, { stdio: "ignore" });
  context.onEnd(() => ended(stream, "SIGKILL"));
  const sent = (): number => {
    const [link] = JSON.parse(path.from.exec("ip", "-s", "-j", "link", "show", "eth0")) as {
      stats64: { tx: { bytes: number } };
    }[];
    return link?.stats64.tx.bytes ?? 0;
  };
  await until("the end of a burst", 60_000, async () => {
    const [before, at] = [sent(), performance.now()];
    await pause(SLICE_MS);
    const bits = (sent() - before) * 8;
    return bits > 0 && bits < (2 * limit * (performance.now() - at)) / 1e3;
  });
  return { stop: () => ended(stream, "SIGKILL") };
}

/** How exact limits are. */
async function accuracy(context: Context, flow: string, at: Place, other: Pod): Promise<Row[]> {
  const seconds = context.quick ? 2 : 10;
  const rows: Row[] = [];
  for (const limit of LIMITS) {
    const [free, pod] = [await at.pod(), await at.pod(limit)];
    for (const direction of DIRECTIONS) {
      const most = median([1, 2, 3].map(() => rateOf(flow, way(direction, free, other), 1)));
      const rate = rateOf(flow, way(direction, pod, other), seconds);
      // A limit that nobody reaches says nothing of the queue.
      const isReached = most * 1e6 > 1.1 * limit;
      const words = isReached ? "" : `; without a limit this machine carries ${(most / 1e3).toFixed(1)} Gbit/s`;
      const head: RowHead = {
        group: "bandwidth",
        measure: `one TCP stream, ${direction}, for ${seconds} s under a limit of ${limitText(limit)}${words}`,
        unit: "Mbit/s",
        ...(isReached && { target: { of: "ratio", atLeast: 0.95, atMost: 1.05 } }),
      };
      rows.push(compared(head, [rate], "the limit", [limit / 1e6]));
    }
    await pod.del();
    await free.del();
  }
  return rows;
}

/** What passes in the same time under the others' limit, and what waits how long behind a stream that fills it. */
async function beside(context: Context, flow: string, ours: Place, theirs: Place): Promise<Row[]> {
  const [rounds, slices, seconds] = context.quick ? [1, 2, 2] : [3, 4, 10];
  const rows: Row[] = [];
  const places = [ours, theirs];
  for (const direction of DIRECTIONS) {
    const rates = places.map((): number[] => []);
    const waits = places.map((): number[] => []);
    for (let round = 0; round < rounds; round++)
      for (const [n, at] of places.entries()) {
        const [limited, first, second] = [await at.pod(USUAL), await at.pod(), await at.pod()];
        if (round === 0) rates[n]?.push(rateOf(flow, way(direction, limited, first), seconds));
        const stream = await filled(context, flow, way(direction, limited, first), USUAL);
        for (let slice = 0; slice < slices; slice++)
          waits[n]?.push(1e3 / measure(flow, way(direction, limited, second), "request", 1_000));
        await stream.stop();
        for (const pod of [limited, first, second]) await pod.del();
      }
    const words = `${direction} under a limit of ${limitText(USUAL)}`;
    const head = {
      group: "bandwidth",
      measure: `one TCP stream, the first ${seconds} s ${words}`,
      unit: "Mbit/s",
    } as const;
    rows.push(compared(head, rates[0] ?? [], theirs.name, rates[1] ?? []));
    const wait = { group: "bandwidth", measure: `round trip behind a stream that is ${words}`, unit: "ms" } as const;
    rows.push(compared({ ...wait, target: { of: "ratio", atMost: 1 } }, waits[0] ?? [], theirs.name, waits[1] ?? []));
  }
  return rows;
}

/** What pods without limits notice of one that fills its own, and what queues cost that are never full. */
async function cost(context: Context, flow: string, at: Place): Promise<Row[]> {
  const [rounds, slices] = context.quick ? [2, 2] : [8, 5];
  const [limited, beyond, free, other] = [await at.pod(USUAL), await at.pod(BEYOND), await at.pod(), await at.pod()];
  const rate = (path: ReturnType<typeof way>): number => measure(flow, path, "stream", SLICE_MS);
  const neighbour = [[], []] as [number[], number[]];
  for (let round = 0; round < rounds; round++) {
    const stream = await filled(context, flow, way("received", limited, other), USUAL);
    for (let slice = 0; slice < slices; slice++) neighbour[0].push(rate(way("sent", free, other)));
    await stream.stop();
    for (let slice = 0; slice < slices; slice++) neighbour[1].push(rate(way("sent", free, other)));
  }
  const head = { group: "bandwidth", unit: "Gbit/s" } as const;
  const target = { of: "ratio", atLeast: 0.95 } as const;
  const measureOf = `TCP stream of two pods beside one that fills a limit of ${limitText(USUAL)}`;
  const rows = [compared({ ...head, measure: measureOf, target }, neighbour[0], "beside none", neighbour[1])];
  for (const direction of DIRECTIONS) {
    const [ours, theirs] = [[], []] as [number[], number[]];
    for (let n = 0; n < rounds * slices; n++) {
      ours.push(rate(way(direction, beyond, other)));
      theirs.push(rate(way(direction, free, other)));
    }
    const words = `TCP stream, ${direction} under a limit that is never reached`;
    rows.push(compared({ ...head, measure: words }, ours, "without a limit", theirs));
  }
  return rows;
}

export const bandwidth: Measurement = {
  name: "bandwidth",
  title: "Limits of what pods receive and send",
  async run(context) {
    const tools = { meter: native(context, "meter"), flow: native(context, "flow") };
    const { flow } = tools;
    const skylane = await served(context, "bandwidth");
    const ptp = reference(context, "ptp");
    const plugin = {
      path: "/usr/lib/cni/bandwidth",
      config: { cniVersion: "1.0.0", name: "ptp", type: "bandwidth" },
    };
    const ours = place(context, tools, skylane.name, skylane.node, [skylane]);
    const theirs = place(context, tools, "ptp + host-local, bandwidth", ptp.node, [ptp, plugin]);
    const other = await ours.pod();
    return [
      ...(await accuracy(context, flow, ours, other)),
      ...(await beside(context, flow, ours, theirs)),
      ...(await cost(context, flow, ours)),
    ];
  },
};
