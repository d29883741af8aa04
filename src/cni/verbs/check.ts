/**
 * CHECK: holds what is there against what ADD answered, as the runtime gives it back in `prevResult`. What later
 * plugins of the chain may change (another MAC address, further routes) is taken from there too. All differences
 * are named together.
 */
import { EVERYTHING, familyOf, parseInterfaceAddress } from "../../addr/index.ts";
import { GATEWAY, type PodLinkExpectation } from "../../dataplane/pod-link/index.ts";
import { Delegate } from "../delegate.ts";
import { parseArgs } from "../spec/args.ts";
import { type Attachment, readAttachment, readNetns } from "../spec/environment.ts";
import { CniError, CODE } from "../spec/errors.ts";
import { get, refuse } from "../spec/json.ts";
import { readOptions } from "../spec/options.ts";
import { requirePublished } from "../published-state.ts";
import type { VerbInput, VerbOutput } from "../spec/request.ts";
import { canonicalDst, type CniResult, readResult } from "../spec/result.ts";
import { requireSandbox } from "../sandbox.ts";

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
    // Addresses that a later plugin gave are through another gateway, and its to check.
    .filter(
      ({ interface: at, address, gateway }) => at === index && (!gateway || gateway === GATEWAY[familyOf(address)]),
    )
    .map(({ address }) => parseInterfaceAddress(address).ip);
  const { mac, mtu } = interfaceOf;
  // One end alone may have been changed by a later plugin; then its MTU is that plugin's to check.
  const hostMtu = result.interfaces.find(({ name, sandbox }) => name === hostIfname && !sandbox)?.mtu;
  return { addresses, ...(mac && { mac: mac.toLowerCase() }), ...(mtu && mtu === hostMtu && { mtu }) };
}

/** Whether a result's route is one that ADD made, as far as its gateway tells. */
const isOurs = ({ dst, gw }: CniResult["routes"][number]): boolean => gw === GATEWAY[familyOf(dst)];

/** Destinations that a later plugin took out of the result, or turned to another gateway: what there is of them is its business. */
function turnedOf({ routes }: CniResult, destinations: readonly string[]): string[] {
  const kept = new Set(routes.filter(isOurs).map(({ dst }) => canonicalDst(dst)));
  return destinations
    .filter((dst) => !kept.has(dst))
    .map((dst) => (dst === EVERYTHING[familyOf(dst)] ? "default" : dst));
}

/** Routes of a delegated IPAM plugin, as ADD put them into the result. */
function furtherRoutes({ routes }: CniResult, known: readonly string[]): NonNullable<PodLinkExpectation["routes"]> {
  return routes
    .filter((route) => isOurs(route) && !known.includes(canonicalDst(route.dst)))
    .map(({ dst, table, priority, mtu }) => ({
      family: familyOf(dst),
      dst: canonicalDst(dst),
      ...(table !== undefined && { table }),
      ...(priority !== undefined && { metric: priority }),
      ...(mtu !== undefined && { mtu }),
    }));
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
  const {
    hostNetns,
    bySource,
    sourceTable,
    destinations: own,
    claim,
  } = host.attachments(config).find(attachment) ?? {};
  // A MAC address that a runtime asks for may have been set by a later plugin too (tuning has the same capability).
  const neighboursForgotten = macAsked || expected.mac !== host.podMacOf(containerId, ifname);
  const where = { netns, ...(hostNetns && { hostNetns }) };
  const { bridge, destinations: whole } = hostNetns ? requirePublished(host, config, CODE.tryAgain) : {};
  const destinations = own ?? whole;
  const known = destinations ?? expected.addresses.map((ip) => EVERYTHING[familyOf(ip)]);
  const everything = Object.values(EVERYTHING);
  const differences = host.checkPod({
    ...where,
    ...attachment,
    ...expected,
    ...(destinations && { destinations }),
    ...(bridge && { bridge }),
    ...(bySource && { bySource }),
    ...(sourceTable !== undefined && { sourceTable }),
    ...(!bridge && { turned: turnedOf(result, known) }),
    ...(config.ipam !== undefined && { routes: furtherRoutes(result, [...known, ...everything]) }),
    mtuLowered: true,
    ...(claim && { movable: true }),
    neighboursForgotten,
  });
  if (config.ipam === undefined) {
    const reserved = host.ipam(config).reservationsOf(attachment);
    for (const ip of expected.addresses) {
      if (!reserved.includes(ip)) differences.push(`address ${ip} is not reserved for this attachment`);
    }
  }
  differences.push(...host.bandwidth(config).differences(attachment));
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
  const { mac: asked, ports = [] } = readOptions(config.raw, parseArgs(env.CNI_ARGS));
  requireSandbox(host, netns);

  const { more = [], hostPorts } = host.attachments(config).find(attachment) ?? {};
  const differences = differencesOf({ host, config }, { ...attachment, netns, macAsked: asked !== undefined }, result);
  // A pod that came before host ports were ours may have them by another plugin.
  differences.push(...host.hostPorts(config).differences(attachment, hostPorts === "own" ? ports : []));
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
