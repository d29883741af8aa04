/**
 * Tries the kernel where nothing of it can stay: in a namespace without a name that goes when this process lets go
 * of it. Modules that are there but not loaded are loaded by the kernel itself, as they would be for the agent.
 */
import { Rtnl, type LinkSpec } from "../../../netlink/index.ts";
import { applyRuleset, probeFeatures, renderRuleset, toolRunner } from "../../../dataplane/nft/index.ts";
import { closeFd, newNetns } from "../../../sys/index.ts";
import { describeError } from "../../main.ts";
import type { KernelFacts, Looked, Trial } from "../facts.ts";

const DEVICES: Readonly<Record<"vxlan" | "veth", LinkSpec>> = {
  vxlan: { kind: "vxlan", name: "sky.1", vni: 1, port: 4789, local: "192.0.2.1" },
  veth: { kind: "veth", name: "sky0", peer: { name: "sky1" } },
};

/** One network of documentation addresses (RFC 5737, RFC 3849), with everything that rules can have. */
const SAMPLE = {
  network: "default",
  vni: 1,
  port: 4789,
  peers: ["192.0.2.2"],
  podCidrs: ["198.51.100.0/24", "2001:db8::/64"],
  clusterCidrs: [],
  masquerade: { enabled: true, exclude: [] },
};

/** What this kernel can do; the error where no namespace can be made. */
export async function tryKernel(): Promise<Looked<KernelFacts>> {
  let netns: number;
  try {
    netns = newNetns();
  } catch (error) {
    return { error: describeError(error) };
  }
  try {
    const { vxlan, veth } = tryDevices(netns);
    return { value: { vxlan, veth, ...(await tryRules(netns)) } };
  } finally {
    closeFd(netns);
  }
}

function tryDevices(netns: number): Pick<KernelFacts, "vxlan" | "veth"> {
  using rtnl = Rtnl.open({ netns });
  const trial = (link: LinkSpec): Trial => {
    try {
      rtnl.execute({ op: "add", kind: "link", link });
      return { works: true };
    } catch (error) {
      return { works: false, error: describeError(error) };
    }
  };
  return { vxlan: trial(DEVICES.vxlan), veth: trial(DEVICES.veth) };
}

async function tryRules(netns: number): Promise<Pick<KernelFacts, "nftables" | "fib" | "fullyRandom">> {
  const run = toolRunner({ netns });
  try {
    const features = await probeFeatures(run);
    await applyRuleset(run, renderRuleset([SAMPLE], features));
    return { nftables: { works: true }, ...features };
  } catch (error) {
    return { nftables: { works: false, error: describeError(error) }, fib: false, fullyRandom: false };
  }
}
