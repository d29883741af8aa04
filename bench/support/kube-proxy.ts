/** The real kube-proxy on a node of the bench. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { KUBE } from "../simulator/cluster.ts";
import type { Context } from "./context.ts";
import type { Namespace } from "./namespace.ts";
import { ended, until } from "./process.ts";

const PROGRAM = `${KUBE}/kube-proxy`;
/** How it makes its rules. */
export type ProxyMode = "iptables" | "nftables";

/** Whether there is one here that has a mode. */
export const hasKubeProxy = (mode: ProxyMode): boolean =>
  existsSync(PROGRAM) && execFileSync(PROGRAM, ["--help"], { encoding: "utf8" }).includes(mode);

export interface Proxied {
  /** A Node's name, and the namespace that is that node. */
  name: string;
  ns: Namespace;
}

/**
 * Starts it, and waits for its rules.
 * @param pods what the pods' addresses are in: nobody's source is translated
 * @param known an address that its rules have to name
 * @returns what ends it and takes its rules away
 */
export async function startKubeProxy(
  context: Context,
  { name, ns }: Proxied,
  { kubeconfig, mode, pods, known }: { kubeconfig: string; mode: ProxyMode; pods: string; known: string },
): Promise<() => Promise<void>> {
  const args = ["--kubeconfig", kubeconfig, "--hostname-override", name, "--proxy-mode", mode];
  const child = ns.spawn(PROGRAM, [...args, "--cluster-cidr", pods, "--conntrack-max-per-core", "0"], {
    stdio: "ignore",
  });
  context.onEnd(() => ended(child, "SIGKILL"));
  // What a program makes by iptables is in the kernel's nf_tables as well.
  await until(`kube-proxy's rules for ${known} on ${name}`, 60_000, () =>
    ns.exec("nft", "list", "ruleset").includes(known),
  );
  return async () => {
    await ended(child, "SIGTERM");
    ns.exec(PROGRAM, "--cleanup");
  };
}
