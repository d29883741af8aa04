/**
 * One attachment, made whole or not at all. The order is what makes a kill at any point harmless: record, then addresses,
 * then the link; DEL, GC and the agent find whatever was begun by its record and take it back in the opposite order.
 */
import { addressBits, cidrContains, EVERYTHING, type Family, familyOf } from "../../addr/index.ts";
import type { PublishedNetwork } from "../../config/index.ts";
import { type PodLink, PodLinkError, type PodLinkSpec, SOURCE_TABLE } from "../../dataplane/pod-link/index.ts";
import { parseArgs } from "../spec/args.ts";
import type { AttachmentRecord } from "../attachments.ts";
import { Delegate } from "../delegate.ts";
import { type Attachment, requestOf } from "../spec/environment.ts";
import { CniError, CODE, describeError } from "../spec/errors.ts";
import type { AttachedInterface, Place, Wanted } from "./additional-interfaces.ts";
import type { Host } from "../host.ts";
import { isObject } from "../../json/index.ts";
import { get, refuse } from "../spec/json.ts";
import { type AttachOptions, requireFamilies } from "../spec/options.ts";
import { requireWide } from "../published-state.ts";
import type { VerbInput } from "../spec/request.ts";
import { canonicalDst, type CniResult, type ResultRoute } from "../spec/result.ts";
import { besideAnother, routedApart } from "./routed-apart.ts";
import { rollBack } from "./roll-back.ts";
import { toCniError } from "./translate.ts";

/** Longest alias that every kernel takes, its end counted or not (IFALIASZ is 256); Kubernetes names may be longer together. */
const MAX_ALIAS = 254;
/** Smallest MTU over which IPv6 works (RFC 8200, section 5). */
const MIN_IPV6_MTU = 1280;

export function mtuOf(options: AttachOptions, published: PublishedNetwork): number {
  const mtu = options.mtu ?? published.mtu;
  if (mtu > published.mtu) {
    throw refuse(
      "mtu",
      mtu,
      `at most ${published.mtu}, which is what the overlay of network "${published.network}" carries`,
    );
  }
  // First what is the node's trouble: nothing of the configuration would mend it.
  requireWide(published);
  if (mtu < MIN_IPV6_MTU && published.podCidrs.some((cidr) => familyOf(cidr) === 6)) {
    throw refuse("mtu", mtu, `at least ${MIN_IPV6_MTU}, since the pods have IPv6`);
  }
  return mtu;
}

/** The addresses of the overlay's device: the network addresses of the node's first pod CIDR of each family. */
const vtepAddressesOf = ({ podCidrs }: PublishedNetwork): string[] =>
  podCidrs
    .filter((cidr, i) => podCidrs.findIndex((other) => familyOf(other) === familyOf(cidr)) === i)
    .map((cidr) => cidr.slice(0, cidr.indexOf("/")));

/** The name that the host end carries for people: pod and interface, or the container where no pod is named. */
function aliasOf(env: VerbInput["env"], { containerId, ifname }: Attachment): string {
  const { podNamespace, podName } = parseArgs(env.CNI_ARGS);
  const owner = podName === undefined ? containerId : `${podNamespace ?? ""}/${podName}`;
  return `${owner}/${ifname}`.slice(0, MAX_ALIAS);
}

/** The pod, for records, as its runtime calls it. */
function recordedPod(env: VerbInput["env"]): Pick<AttachmentRecord, "pod" | "podUid"> {
  const { podNamespace, podName, podUid } = parseArgs(env.CNI_ARGS);
  if (podName === undefined) return {};
  return { pod: `${podNamespace ?? ""}/${podName}`, ...(podUid !== undefined && { podUid }) };
}

/** The pod that has a claim, for the record. */
function podOf(env: VerbInput["env"]): { pod: string; uid?: string } {
  const { podName = "", podUid } = parseArgs(env.CNI_ARGS);
  return { pod: podName, ...(podUid !== undefined && { uid: podUid }) };
}

/** What addresses the pod gets, and what else a delegated plugin said. */
interface Given {
  ips: string[];
  routes: ResultRoute[];
  dns: CniResult["dns"];
}

async function giveAddresses(
  { config, host }: VerbInput,
  owner: AttachmentRecord["owner"],
  options: AttachOptions,
  published: PublishedNetwork,
  { delegate, claimed }: { delegate: Delegate | undefined; claimed: boolean },
): Promise<Given> {
  if (!delegate) {
    const { ips, ranges } = options;
    const { podCidrs } = published;
    // A claim's addresses may be another pod's for a while.
    const inUse = claimed ? undefined : host.inUse?.(config.network, published.hostNetns);
    const asked = { podCidrs, ...(ips && { ips }), ...(ranges && { ranges }), ...(claimed && { claimed }) };
    try {
      return { ips: host.ipam(config).reserve(owner, { ...asked, ...(inUse && { inUse }) }), routes: [], dns: {} };
    } finally {
      inUse?.[Symbol.dispose]?.();
    }
  }
  const result = await delegate.add();
  const ips = result.ips.map(({ address }) => address.slice(0, address.indexOf("/")));
  const families = ips.map(familyOf);
  if (ips.length === 0 || new Set(families).size < families.length) {
    const got = ips.length === 0 ? "no address" : ips.join(", ");
    throw new CniError(
      CODE.delegate,
      `IPAM plugin "${delegate.type}" gave ${got}`,
      "A pod of this network gets one address a family; configure the plugin with one range a family.",
    );
  }
  const { podCidrs } = published;
  const foreign = ips.find((ip) => !podCidrs.some((cidr) => cidrContains(cidr, ip)));
  if (foreign !== undefined) {
    throw new CniError(
      CODE.delegate,
      `IPAM plugin "${delegate.type}" gave ${foreign}, which is in none of this node's pod CIDRs (${podCidrs.join(", ")})`,
      "Other nodes send only what is for these CIDRs to this node, so the pod would get no answers. Configure the plugin with ranges of this node's CIDRs.",
    );
  }
  return { ips, routes: result.routes, dns: result.dns };
}

/** Routes of a delegated plugin, turned to the pod's own gateways: its gateway is not on the pod's link. */
function extraRoutes(given: Given, link: PodLink): ResultRoute[] {
  const routes: ResultRoute[] = [];
  for (const route of given.routes) {
    const dst = canonicalDst(route.dst);
    const gateway = link.gateways.find((ip) => familyOf(ip) === familyOf(dst));
    if (gateway !== undefined && dst !== EVERYTHING[familyOf(dst)]) routes.push({ ...route, dst, gw: gateway });
  }
  return routes;
}

/** What an answer says of a link beside the link itself. */
type Where = Pick<PodLinkSpec, "netns" | "mtu" | "destinations" | "bySource" | "sourceTable" | "bridge">;

/** What ADD answers. */
function resultOf(link: PodLink, where: Where, extra: ResultRoute[], dns: CniResult["dns"]): CniResult {
  const { netns, mtu, destinations, bySource, sourceTable, bridge } = where;
  const everything = link.gateways.map((gw) => EVERYTHING[familyOf(gw)]);
  const gatewayOf = (family: Family): string | undefined => link.gateways.find((gw) => familyOf(gw) === family);
  return {
    interfaces: [
      { name: link.hostIfname, mac: link.hostMac, mtu },
      { name: link.ifname, mac: link.podMac, mtu, sandbox: netns },
    ],
    ips: link.addresses.map((ip) => {
      const gateway = gatewayOf(familyOf(ip));
      const prefix = bridge?.prefixLengths[familyOf(ip)] ?? addressBits(familyOf(ip));
      return { address: `${ip}/${prefix}`, interface: 1, ...(gateway && { gateway }) };
    }),
    routes: [
      ...(destinations ?? everything).flatMap((dst) => {
        const gw = gatewayOf(familyOf(dst));
        return gw ? [{ dst, gw }] : [];
      }),
      ...(bySource
        ? link.gateways.map((gw) => ({ dst: EVERYTHING[familyOf(gw)], gw, table: sourceTable ?? SOURCE_TABLE }))
        : []),
      ...extra,
    ],
    dns,
  };
}

/** Gateways of the main table's default routes. */
const gatewaysOf = ({ routes }: CniResult): string[] =>
  routes.flatMap(({ dst, gw, table }) => (gw && table === undefined && dst === EVERYTHING[familyOf(dst)] ? [gw] : []));

/**
 * Writes the attachment's record. What is left of the same attachment from before a reboot, or was begun for this very
 * request by an agent that died over it, is taken back first.
 */
async function begin(input: VerbInput, record: AttachmentRecord, delegate: Delegate | undefined): Promise<void> {
  const { config, host } = input;
  const { containerId, ifname } = record.owner;
  for (let attempt = 0; attempt < 2; attempt++) {
    const earlier = host.attachments(config).begin(record);
    if (!earlier) return;
    const ours = record.request !== undefined && earlier.request === record.request;
    if (earlier.bootId === record.bootId && !ours) break;
    await rollBack({ host, config, attachment: record.owner, ...(delegate && { delegate: () => delegate }) });
  }
  throw new CniError(
    CODE.alreadyAttached,
    `container ${containerId} already has interface ${ifname} in pod network "${config.network}"`,
    "The runtime must call DEL before it calls ADD again for the same container and interface.",
  );
}

/** Whether the configuration has runtimes tell us of host ports. */
function hasHostPorts({ raw }: VerbInput["config"]): boolean {
  const capabilities = get(raw, "capabilities");
  return isObject(capabilities) && get(capabilities, "portMappings") === true;
}

/** Ports of the node lead to its own network namespace, where only the default network's pods have addresses. */
const hostPortsElsewhere = (network: string): CniError =>
  new CniError(
    CODE.unsupportedField,
    `a pod cannot have host ports in pod network "${network}"`,
    "Take the capability portMappings out of this network's configuration; host ports lead to a pod's address in the default network.",
  );

/** Limits what the pod receives and sends by an interface, as its runtime or its annotations say. @throws BandwidthRefused */
async function limitBandwidth(
  { env, config, host }: VerbInput,
  { attachment, options, published: { hostNetns } }: AttachInput,
  { bootId }: Pick<AttachmentRecord, "bootId">,
): Promise<void> {
  const { pod, podUid } = recordedPod(env);
  await host.bandwidth(config).limit({
    owner: attachment,
    network: config.network,
    ...(pod !== undefined && { pod }),
    ...(podUid !== undefined && { uid: podUid }),
    bootId,
    ...(hostNetns && { hostNetns }),
    limits: options.bandwidth ?? {},
  });
}

function addExtraRoutes(host: Host, netns: string, ifname: string, routes: readonly ResultRoute[]): void {
  if (routes.length === 0) return;
  const wanted = routes.map(({ dst, gw, mtu, priority, table }) => ({
    family: familyOf(dst),
    dst,
    ...(gw && { gateway: gw }),
    ...(mtu && { mtu }),
    ...(priority !== undefined && { metric: priority }),
    ...(table !== undefined && { table }),
  }));
  host.addRoutes(netns, ifname, wanted);
}

/** What one attachment is made from. */
export interface AttachInput {
  attachment: Attachment;
  netns: string;
  options: AttachOptions;
  /** Its pod network. */
  published: PublishedNetwork;
  /** Attachments that belong to it and are taken back with it. */
  more?: readonly Place[];
  /** The claim that has its addresses. */
  claim?: Pick<Wanted, "claim" | "standby">;
  /** What the pod reaches through it; what its network says by default. */
  destinations?: readonly string[];
  bySource?: boolean;
  /** Another interface of the pod has the routes of this network. */
  beside?: boolean;
}

/** An attachment that was made. */
export interface Attached {
  made: AttachedInterface;
  result: CniResult;
  /** Takes it back, and those that belong to it. @throws CniError */
  undo: () => Promise<void>;
}

/**
 * Makes one attachment of the configuration's pod network.
 * @throws CniError, with nothing left behind
 */
export async function attachOne(input: VerbInput, what: AttachInput): Promise<Attached> {
  const { env, config, host } = input;
  const { attachment, netns, options, published, more, bySource, claim: { claim, standby = false } = {} } = what;
  const { hostNetns, bridge } = published;
  const { mac: askedMac, ports = [] } = options;
  if (hostNetns && ports.length > 0) throw hostPortsElsewhere(config.network);
  const destinations = what.destinations ?? published.destinations;
  const apart = what.beside && !destinations ? routedApart(attachment) : undefined;
  const alias = aliasOf(env, attachment);
  const mtu = mtuOf(options, published);
  const delegate = config.ipam === undefined ? undefined : new Delegate(config, env);
  const owner = { ...attachment, netns };
  const origin = host.origin(netns);
  const request = requestOf(env);
  const identity = {
    ...(config.ipam && { ipam: config.ipam }),
    ...(request && { request }),
    ...(more && { more }),
    ...(what.destinations && { destinations: what.destinations }),
    ...(bySource && { bySource }),
    ...apart,
    ...(hasHostPorts(config) && { hostPorts: "own" as const }),
    ...recordedPod(env),
    mtu,
    ...(hostNetns && { hostNetns }),
    ...(hostNetns && askedMac && { mac: askedMac }),
    ...(claim && { claim: { holder: claim, ...podOf(env) } }),
  };
  const record = { owner, name: config.name, ...identity, ...origin };
  await begin(input, record, delegate);
  let link: PodLink | undefined;
  const undo = async (): Promise<void> => {
    // By the time that nobody took the answer, a DEL and another ADD may have come: theirs is not ours to take back.
    const now = host.attachments(config).find(attachment);
    if (now && now.request !== request) return;
    await rollBack({
      host,
      config,
      attachment,
      ...(link && { netns }),
      keepLink: !link,
      ...(delegate && { delegate: () => delegate }),
    });
  };
  try {
    const claimed = claim !== undefined;
    const given = await giveAddresses(input, owner, options, published, { delegate, claimed });
    const { ips: addresses } = given;
    const way = { ...(destinations && { destinations }), ...(bySource && { bySource }), ...(bridge && { bridge }) };
    let where: Where = { netns, mtu, ...way, ...apart };
    const spec = {
      ...attachment,
      ...where,
      alias,
      addresses,
      ...(hostNetns && { hostNetns }),
      ...(askedMac && { mac: askedMac }),
      ...(standby && { standby }),
      ...(!bridge && { hostSources: vtepAddressesOf(published) }),
    };
    try {
      link = await host.attachPod(spec);
    } catch (error) {
      if (destinations || apart || !(error instanceof PodLinkError && error.reason === "routed")) throw error;
      const beside = besideAnother(host, spec);
      where = { ...where, ...beside };
      // What DEL and CHECK go by. Nothing of the link exists now, and its addresses are found by the sandbox as well.
      host.attachments(config).end(attachment);
      await begin(input, { ...record, ...beside }, delegate);
      link = await host.attachPod({ ...spec, ...beside });
    }
    if (ports.length > 0) {
      requireFamilies(ports, addresses);
      const { bootId } = origin;
      const { pod } = recordedPod(env);
      const { network } = config;
      const mapped = { owner: attachment, network, ...(pod !== undefined && { pod }), bootId, ips: addresses, ports };
      await host.hostPorts(config).map(mapped);
    }
    await limitBandwidth(input, what, origin);
    if (hostNetns) await host.linked?.({ ...attachment, network: config.network, claimed, standby });
    const extra = extraRoutes(given, link);
    addExtraRoutes(host, netns, link.ifname, extra);
    const result = resultOf(link, where, extra, { ...given.dns, ...options.dns });
    const { ifname, podMac: mac, addresses: ips } = link;
    return { made: { network: config.network, ifname, ips, mac, mtu, gateway: gatewaysOf(result) }, result, undo };
  } catch (error) {
    throw await undone(toCniError(error), undo);
  }
}

/** Takes back what was begun; returns the error to answer with, which says so when not all of it could be. */
export async function undone(failure: CniError, undo: () => Promise<void>): Promise<CniError> {
  try {
    await undo();
    return failure;
  } catch (error) {
    const left = `Not all of it could be taken back (${describeError(error)}); DEL or GC will try again.`;
    return new CniError(failure.code, failure.message, `${failure.details} ${left}`.trim(), { cause: failure });
  }
}
