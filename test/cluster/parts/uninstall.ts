/** Uninstalled, the nodes are as they were before. */
import assert from "node:assert/strict";
import type { Context } from "../support/context.ts";
import { needs } from "../support/context.ts";
import { eventually, SYSTEM_NAMESPACE, TEST_NAMESPACE } from "../support/kube.ts";
import type { Machine } from "../support/machine.ts";
import { manifestFor } from "./install.ts";

/** What a node has that Skylane might leave something in. */
const LOOKS: Record<string, readonly string[]> = {
  links: ["ip", "-o", "link"],
  "IPv4 routes": ["ip", "route", "show", "table", "all"],
  "IPv6 routes": ["ip", "-6", "route", "show", "table", "all"],
  rules: ["ip", "rule"],
  nftables: ["nft", "list", "tables"],
  files: ["find", "/opt/cni", "/etc/cni", "/var/lib/cni", "/run/skylane"],
};
/** Noise: what the kernel or kube-proxy changes by itself, and where a node's cable ends that was made anew. */
const NOISE = [
  /@if\d+/g,
  / (expires|users|age|used|mtu|pref|metric)\S* \S+/g,
  /^\d+: /gm,
  /link-netns\S* \S+/g,
  /qlen \d+/g,
];

/**
 * What is there afterwards and is not Skylane's: the anycast addresses of a host that forwards IPv6 (forwarding stays
 * on, since others may rely on it by now), and the directory in which the runtime's own library keeps results.
 */
const NOT_OURS = /^anycast |^\/var\/lib\/cni\/results$/;

export async function snapshot(machine: Machine, node: string): Promise<Record<string, string[]>> {
  const looks = Object.entries(LOOKS).map(async ([name, command]) => {
    // find fails when a folder is not there, which is a finding as well
    const text = (await machine.hardware?.at(node, ["sh", "-c", `${command.join(" ")} 2>/dev/null || true`])) ?? "";
    const lines = NOISE.reduce((rest, pattern) => rest.replace(pattern, ""), text)
      .split("\n")
      .filter((line) => line !== "" && !NOT_OURS.test(line))
      .sort();
    return [name, lines] as const;
  });
  return Object.fromEntries(await Promise.all(looks));
}

export function uninstallPart(context: Context, before: ReadonlyMap<string, Record<string, string[]>>): void {
  describe("uninstalled", () => {
    it("leaves the nodes as they were before", async function () {
      const { machine, kube } = context;
      needs(this, machine.hardware, "access to the machines");
      await kube.kubectl("delete", "namespace", TEST_NAMESPACE, "--wait");
      const agents = await kube.list("pods", "-n", SYSTEM_NAMESPACE, "-l", "app.kubernetes.io/name=skylane");
      await machine.kubectl(["delete", "-f", "-", "--wait"], await manifestFor(context));
      await eventually(
        async () => (await kube.list("pods", "-A", "-l", "app.kubernetes.io/name=skylane")).length === 0,
        { timeoutMs: 90_000 },
      );
      for (const agent of agents) {
        const node = agent.spec.nodeName as string;
        await machine.hardware?.at(node, ["/opt/cni/bin/.skylane/current/skylanectl", "uninstall", "--executable"]);
        const now = await snapshot(machine, node);
        const then = before.get(node);
        if (then) assert.deepEqual(now, then, node);
      }
    });
  });
}
