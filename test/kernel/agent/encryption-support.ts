/** Agents that encrypt, what they say of it, and pings that tell what is lost meanwhile. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { askAgent } from "../../../src/cli/agent/client.ts";
import type { EncryptionStatus } from "../../../src/dataplane/encryption/index.ts";
import { eventually, PATIENCE } from "../../support/eventually.ts";
import { reaches } from "../overlay/cluster.ts";
import type { TestNode } from "./harness.ts";

export const encryption = async (node: TestNode): Promise<EncryptionStatus> => {
  const { encryption: now } = await node.status();
  assert.ok(now);
  return now;
};
export const put = async (node: TestNode, what: string): Promise<string> =>
  (await askAgent(`/encryption/${what}`, node.socket, 5_000 * PATIENCE, "PUT")).trim();
export const vtep = (node: TestNode): string => (node.podCidrs[0] as string).replace("/24", "");
export const done = (node: TestNode, key: string): Promise<unknown> =>
  eventually(
    async () => {
      const { publicKey, rotation } = await encryption(node);
      return publicKey === key && rotation === undefined;
    },
    { timeoutMs: 120_000, intervalMs: 200, message: `${node.name} has gone over to ${key}` },
  );

/** Pings all the time, between neighbours in a ring and both ways; what is returned ends it and says what was lost in between. */
export function pinging(nodes: readonly TestNode[]): () => Promise<string[]> {
  const ring = nodes.map((node, at) => [node, nodes[(at + 1) % nodes.length] as TestNode] as const);
  const ways = (nodes.length === 2 ? ring.slice(1) : ring).flatMap(([a, b]) => [
    [a, b],
    [b, a],
  ]);
  const streams = ways.map(([from, to]) => {
    const [a, b] = [from as TestNode, to as TestNode];
    const child = a.ns.spawn("ping", ["-n", "-i", String(0.025 * nodes.length), "-I", vtep(a), vtep(b)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    child.stdout?.setEncoding("utf8").on("data", (part: string) => (text += part));
    return async () => {
      const end = once(child, "close");
      child.kill("SIGINT");
      await end;
      const answered = new Set([...text.matchAll(/bytes from .*icmp_seq=(\d+)/g)].map(([, number]) => Number(number)));
      const last = Math.max(...answered);
      assert.ok(last > 20, text);
      const lost = Array.from({ length: last }, (_, index) => index + 1).filter((number) => !answered.has(number));
      return lost.map((number) => `${a.name} ${number} of ${last}`);
    };
  });
  return async () => (await Promise.all(streams.map((end) => end()))).flat();
}

/** Starts nodes that let nothing in the clear pass, and waits until they reach each other. */
export async function encrypt(
  nodes: readonly TestNode[],
  more: Parameters<TestNode["configure"]>[0] = {},
): Promise<void> {
  for (const node of nodes) {
    node.configure({ encryption: "strict", ...more });
    await node.register();
    node.start();
  }
  for (const node of nodes) {
    const others = nodes.filter((other) => other !== node);
    await node.ready(others.map(({ name }) => name));
    for (const other of others) await reaches(node.ns, vtep(other), "-I", vtep(node));
  }
}
