/** Encryption between nodes: on, with nothing of a tunnel in the clear, or off with a reason. */
import { setTimeout as delay } from "node:timers/promises";
import { inspect } from "node:util";
import { run } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/index.ts";
import type { Trial } from "./main.ts";

const BYTES = 4 << 20;
/** For the slowest of machines: what takes longer hangs. */
const LIMIT_MS = 600_000;
/** Counts what passes the switch between the nodes: tunnels, and WireGuard. */
const WIRE =
  "table bridge wire { chain c { type filter hook forward priority 0; udp dport 4789 counter; udp dport 51871 counter; }; }";

/** Two pods on two nodes and a stream between them. @throws Error when it is neither on nor off for a reason, or something of it is in the clear */
export async function tryEncryption(): ReturnType<Trial> {
  const lab = await Lab.up({
    name: "encrypted",
    nodes: 2,
    agentConfig: { encryption: "strict" },
    dontWait: true,
  });
  try {
    const settled = async () => {
      let last: unknown;
      for (const start = performance.now(); performance.now() < start + LIMIT_MS; await delay(250)) {
        try {
          const { encryption: now } = await lab.status(lab.node("node1"), LIMIT_MS);
          last = now;
          if (
            now?.ready ? now.peers.some(({ state }) => state === "encrypted") : /no WireGuard/.test(now?.message ?? "")
          )
            return now;
        } catch (error) {
          // It may not have started yet.
          last = error;
        }
      }
      for (const { name } of lab.nodes())
        console.log(`${name}:\n${await lab.exec(name, "tail", "-n", "20", "/var/log/skylane-agent.log")}`);
      throw new Error(`node1 does not say how encryption stands: ${inspect(last, { breakLength: Infinity })}`);
    };
    const known = await settled();
    console.log(JSON.stringify(known, null, 1));
    if (!known?.ready) return { outcome: "refused", says: known?.message ?? "" };
    await run(lab.enterFabric("nft", WIRE));
    const [from, to] = [await lab.addPod("node1"), await lab.addPod("node2")];
    for (const ip of to.ips) {
      const { same } = await lab.transfer(from, to, ip, BYTES);
      if (!same) throw new Error(`what arrived at ${ip} is not what was sent`);
    }
    const counted = await run(lab.enterFabric("nft", "list", "table", "bridge", "wire"));
    const packets = (port: number): number =>
      Number(new RegExp(`udp dport ${port} counter packets (\\d+)`).exec(counted)?.[1]);
    if (packets(4789) !== 0) throw new Error(`${packets(4789)} packets of tunnels went in the clear`);
    if (!(packets(51_871) > 0)) throw new Error("nothing went through WireGuard");
    return { says: "" };
  } finally {
    await lab.down();
  }
}
