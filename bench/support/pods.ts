/** A node with pods as Skylane's plugin makes them, for what needs no second node. */
import { execFileSync } from "node:child_process";
import { POD_LINK_GROUP } from "../../src/netlink/index.ts";
import type { Context } from "./context.ts";
import { cable, type Namespace, namespace } from "./namespace.ts";
import { ended } from "./process.ts";

export const PODS = { client: "10.0.0.2", server: "10.0.0.3" } as const;

/** A node with two pods and, as in any cluster, a rule that translates addresses, for which the kernel tracks connections. */
export function nodeWithPods(
  context: Context,
  label: string,
): { node: Namespace; pods: Record<keyof typeof PODS, Namespace> } {
  const node = namespace(context, label);
  node.exec("sysctl", "-qw", "net.ipv4.ip_forward=1");
  node.exec(
    "nft",
    "table ip base { chain post { type nat hook postrouting priority srcnat; ip daddr != 10.0.0.0/8 masquerade; }; }",
  );
  const pods = Object.fromEntries(
    Object.entries(PODS).map(([name, ip]) => {
      const pod = namespace(context, `${label}-${name}`);
      cable(node, name, pod, "eth0");
      node.exec("ip", "link", "set", name, "group", String(POD_LINK_GROUP));
      node.exec("ip", "addr", "add", "169.254.1.1/32", "dev", name);
      node.exec("ip", "route", "add", `${ip}/32`, "dev", name);
      pod.exec("ip", "addr", "add", `${ip}/32`, "dev", "eth0");
      pod.exec("ip", "route", "add", "169.254.1.1/32", "dev", "eth0");
      pod.exec("ip", "route", "add", "default", "via", "169.254.1.1");
      return [name, pod];
    }),
  ) as Record<keyof typeof PODS, Namespace>;
  return { node, pods };
}

/** Has a pod answer at a port as bench/native/flow.c does; resolves when it listens. */
export async function serve(
  context: Context,
  flow: string,
  pod: Namespace,
  what: "serve" | "accept",
  port: string,
): Promise<void> {
  const server = pod.spawn(flow, [what, PODS.server, port], { stdio: ["ignore", "pipe", "inherit"] });
  context.onEnd(() => ended(server, "SIGKILL"));
  await new Promise((resolve) => server.stdout?.once("data", resolve));
}

/** How long one measurement takes, in milliseconds. */
const SLICE_MS = 200;

/** Gbit/s of a stream, or requests or connections a second. */
export function measureFlow(
  flow: string,
  client: Namespace,
  mode: "stream" | "request" | "connect",
  port: string,
): number {
  const args = [`--net=${client.path}`, "--", flow, mode, PODS.server, port, String(SLICE_MS)];
  const [count = 0, ns = 1] = execFileSync("nsenter", args, { encoding: "utf8" }).split(" ").map(Number);
  return mode === "stream" ? (count * 8) / ns : (count / ns) * 1e9;
}
