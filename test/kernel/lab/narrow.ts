/** An underlay that carries less to a node than all devices say. */
import type { Lab } from "../../../lab/index.ts";
import { portName } from "../../../lab/cluster/names.ts";
import { run } from "../../../lab/exec.ts";

/** Has the switch's port to a node lose what is larger, until it is disposed of. @param others nodes that send there */
export async function narrowTo(
  lab: Lab,
  number: number,
  others: readonly number[],
  bytes: number,
): Promise<AsyncDisposable> {
  // The lab's switch would let packets pass that nobody has cut yet, as no switch does.
  const cut = async (segments: number): Promise<void> => {
    for (const one of [number, ...others])
      await lab.exec(`node${one}`, "ip", "link", "set", "eth0", "gso_max_segs", String(segments));
  };
  const mtu = (most: number): Promise<string> =>
    run(lab.enterFabric("ip", "link", "set", portName(number), "mtu", String(most)));
  await cut(1);
  await mtu(bytes);
  return {
    [Symbol.asyncDispose]: async () => {
      await mtu(1500);
      await cut(65_535);
    },
  };
}

/** What the routes of a node to another one's pods take, one a family; undefined where it is what the device takes. */
export async function routesTo(lab: Lab, node: string, other: string): Promise<(number | undefined)[]> {
  const { networks } = await lab.status(lab.node(node));
  const cidrs = networks[0]?.peers.find((peer) => peer.node === other)?.podCidrs ?? [];
  return Promise.all(
    cidrs.map(async (cidr) => {
      const text = await lab.exec(node, "ip", "-j", cidr.includes(":") ? "-6" : "-4", "route", "show", cidr);
      const [route] = JSON.parse(text) as { metrics?: { mtu: number }[] }[];
      if (!route) throw new Error(`${node} has no route to ${cidr}`);
      return route.metrics?.[0]?.mtu;
    }),
  );
}
