/**
 * STATUS: whether an ADD would be served now. 50 while the network is not published; 51 when it is, but pods
 * cannot be added and those that exist may suffer: the overlay's device is gone, or a family has no address left.
 */
import { cidrContains, FAMILIES, familyOf } from "../addr/index.ts";
import { podSpan } from "../ipam/index.ts";
import { Delegate } from "./delegate.ts";
import { CniError, CODE } from "./errors.ts";
import { requirePublished, requireWide } from "./published-state.ts";
import type { VerbInput, VerbOutput } from "./request.ts";

/** The CIDRs of a family that has no free address in any of them, if there is one. */
function exhausted(podCidrs: readonly string[], used: readonly string[]): string[] | undefined {
  const hasRoom = (cidr: string): boolean => {
    const { first, last } = podSpan(cidr);
    return BigInt(used.filter((ip) => cidrContains(cidr, ip)).length) < last - first + 1n;
  };
  return FAMILIES.map((family) => podCidrs.filter((cidr) => familyOf(cidr) === family)).find(
    (cidrs) => cidrs.length > 0 && !cidrs.some(hasRoom),
  );
}

/** Serves STATUS. @throws CniError 50 or 51, or a delegated plugin's own */
export async function status({ env, config, host }: VerbInput): Promise<VerbOutput> {
  const published = requirePublished(host, config, CODE.notAvailable);
  if (!host.deviceUp(published.device, published.hostNetns)) {
    throw new CniError(
      CODE.limited,
      `VXLAN device ${published.device} of pod network "${config.network}" is missing or down`,
      "Pods reach no other node until skylane-agent on this node has made it again; see whether the agent runs.",
    );
  }
  if (config.ipam === undefined) requireWide(published);
  else {
    await new Delegate(config, env).forward("STATUS");
    return { stdout: "" };
  }
  const used = host
    .ipam(config)
    .list()
    .map(({ ip }) => ip);
  // A network with a namespace of its own claims further blocks when it needs them.
  const full = published.hostNetns === undefined ? exhausted(published.podCidrs, used) : undefined;
  if (full !== undefined) {
    const [cidr = ""] = full;
    throw new CniError(
      CODE.limited,
      `no free IPv${familyOf(cidr)} address in pod CIDR ${full.join(", ")}`,
      `All ${used.filter((ip) => full.some((one) => cidrContains(one, ip))).length} are in use. Pods must go, or the node needs a larger pod CIDR.`,
    );
  }
  return { stdout: "" };
}
