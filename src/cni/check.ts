/**
 * CHECK: holds what is there against what ADD answered, as the runtime gives it back in `prevResult`. What later
 * plugins of the chain may change (another MAC address, further routes) is taken from there too. All differences
 * are named together.
 */
import { parseInterfaceAddress } from "../addr/index.ts";
import { Delegate } from "./delegate.ts";
import { parseArgs } from "./args.ts";
import { type Attachment, readAttachment, readNetns } from "./environment.ts";
import { CniError, CODE } from "./errors.ts";
import { get, refuse } from "./json.ts";
import { readOptions } from "./options.ts";
import { requirePublished } from "./published-state.ts";
import type { VerbInput, VerbOutput } from "./request.ts";
import { type CniResult, readResult } from "./result.ts";
import { requireSandbox } from "./sandbox.ts";

interface Expected {
  addresses: string[];
  mac?: string;
  mtu?: number;
}

/** What prevResult says of the interface; undefined when it does not have it. */
function expectedOf(result: CniResult, ifname: string, netns: string, hostIfname: string): Expected | undefined {
  const index = result.interfaces.findIndex(({ name, sandbox }) => name === ifname && sandbox === netns);
  const interfaceOf = result.interfaces[index];
  if (!interfaceOf) return undefined;
  const addresses = result.ips
    .filter((ip) => ip.interface === index)
    .map(({ address }) => parseInterfaceAddress(address).ip);
  const { mac, mtu } = interfaceOf;
  // One end alone may have been changed by a later plugin; then its MTU is that plugin's to check.
  const hostMtu = result.interfaces.find(({ name, sandbox }) => name === hostIfname && !sandbox)?.mtu;
  return { addresses, ...(mac && { mac: mac.toLowerCase() }), ...(mtu && mtu === hostMtu && { mtu }) };
}

/** How one attachment differs from what ADD answered. @param macAsked its MAC may be a later plugin's work. */
function differencesOf(
  { host, config }: Pick<VerbInput, "host" | "config">,
  { containerId, ifname, netns, macAsked }: Attachment & { netns: string; macAsked: boolean },
  result: CniResult,
): string[] {
  const attachment = { containerId, ifname };
  const expected = expectedOf(result, ifname, netns, host.hostIfname(containerId, ifname));
  if (!expected) return [`prevResult has no interface ${ifname} in sandbox ${netns}`];
  const { hostNetns, bySource, destinations: own, claim } = host.attachments(config).find(attachment) ?? {};
  // A MAC address that a runtime asks for may have been set by a later plugin too (tuning has the same capability).
  const neighboursForgotten = macAsked || expected.mac !== host.podMacOf(containerId, ifname);
  const where = { netns, ...(hostNetns && { hostNetns }) };
  const { bridge, destinations: whole } = hostNetns ? requirePublished(host, config, CODE.tryAgain) : {};
  const destinations = own ?? whole;
  const differences = host.checkPod({
    ...where,
    ...attachment,
    ...expected,
    ...(destinations && { destinations }),
    ...(bridge && { bridge }),
    ...(bySource && { bySource }),
    ...(claim && { movable: true }),
    neighboursForgotten,
  });
  if (config.ipam === undefined) {
    const reserved = host.ipam(config).reservationsOf(attachment);
    for (const ip of expected.addresses) {
      if (!reserved.includes(ip)) differences.push(`address ${ip} is not reserved for this attachment`);
    }
  }
  if (expected.addresses.length === 0) differences.push(`prevResult has no address of interface ${ifname}`);
  return differences;
}

/** Serves CHECK. @throws CniError {@link CODE.checkFailed} naming every difference */
export async function check({ env, config, host }: VerbInput): Promise<VerbOutput> {
  const attachment = readAttachment(env);
  const netns = readNetns(env);
  const { containerId, ifname } = attachment;
  const prevResult = get(config.raw, "prevResult");
  if (prevResult === undefined) throw refuse("prevResult", undefined, "the result of ADD, which CHECK compares with");
  const result = readResult(prevResult, "prevResult");
  const asked = readOptions(config.raw, parseArgs(env.CNI_ARGS)).mac;
  requireSandbox(host, netns);

  const { more = [] } = host.attachments(config).find(attachment) ?? {};
  const differences = differencesOf({ host, config }, { ...attachment, netns, macAsked: asked !== undefined }, result);
  for (const place of more) {
    const { ipam: _, ...own } = config;
    const there = { host, config: { ...own, network: place.network } };
    differences.push(...differencesOf(there, { containerId, ifname: place.ifname, netns, macAsked: false }, result));
  }
  if (differences.length > 0) {
    const message = `container ${containerId} interface ${ifname} is not as it was attached`;
    throw new CniError(CODE.checkFailed, message, `${differences.join("; ")}.`);
  }
  if (config.ipam !== undefined) await new Delegate(config, env).check();
  return { stdout: "" };
}
