/** The live map of nodes that nobody has. */
import { World } from "../../src/cli/ui/model/world.ts";
import { serveMap } from "../../src/cli/ui/serve/server.ts";
import type { Measured } from "../../src/cli/ui/model/pairs.ts";

/** The node that fails, in all pairs. */
const FAILS = 3;

export interface ManyNodes {
  url: string;
  world: World;
  /** What a node has measured, but that it finds another one as it is told. */
  measure(from: number, odd?: { to: number; state: Measured["state"] }): void;
  close(): Promise<void>;
}

/** Serves so many nodes, each of which has measured all others, and `podsEach` pods on each. */
export async function serveMany(count: number, podsEach = 0): Promise<ManyNodes> {
  const world = new World(`${count} nodes`, Date.now);
  const names = Array.from({ length: count }, (_, i) => `node${i}`);
  const probes = { on: true, message: "", verdicts: [] };
  for (const [i, name] of names.entries()) {
    world.nodeSeen({ name, ips: [] });
    world.agentAnswered(name, {
      version: "1",
      api: "synced",
      ready: true,
      uptimeSeconds: 1,
      vteps: [],
      refused: [],
      probes,
    });
    for (let pod = 0; pod < podsEach; pod++)
      world.podSeen({
        key: `shop/pod-${i}-${pod}`,
        node: name,
        phase: "Running",
        ips: [`10.${i >> 8}.${i & 255}.${pod + 2}`],
        further: [],
      });
  }
  const measure: ManyNodes["measure"] = (from, odd) =>
    world.measured(
      names[from] as string,
      names.map((node, to): Measured => {
        const state = from === FAILS || to === FAILS ? "down" : "answers";
        return { node, state: to === odd?.to ? odd.state : state, rttMs: 0.2 + ((from * to) % 7) / 10 };
      }),
    );
  for (const from of names.keys()) measure(from);
  const server = await serveMap(world, { answer: () => Promise.resolve({ error: "nobody is there" }) });
  return { url: server.url, world, measure, close: () => server.close() };
}
