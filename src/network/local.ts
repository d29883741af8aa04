/**
 * From our own Node's facts, the configuration and this machine's addresses to the network that this node takes
 * part in, or to the one thing that is missing for it. Pure, so that a start and every later change are the same.
 */
import { derivedMac, type Family, familyOf } from "../addr/index.ts";
import type { NetworkConfig } from "../config/index.ts";
import {
  AnnotationError,
  isClusterCidr,
  type LocalNetwork,
  NOTHING_RESERVED,
  readVtepAnnotation,
} from "../peers/index.ts";
import { directFamilies, type Machine } from "../host/index.ts";
import {
  DEFAULT_VNI,
  type Elsewhere,
  type Inputs,
  type OwnFacts,
  reservedHere,
  type WaitKind,
} from "../nodes/index.ts";
import { overlayMtu } from "./mtu.ts";
import { publicIps } from "./public-ips.ts";
import { selectUnderlay, type Underlay } from "./underlay.ts";

/** This node's part, or what is missing. */
export type LocalResult =
  | { local: LocalNetwork; underlay: Underlay; warnings: string[] }
  | { missing: WaitKind; message: string };

/** What else decides. */
export interface LocalOptions {
  /** The underlay address in use, and its family or the one that was in use at the start. */
  current?: string | undefined;
  family?: Family | undefined;
  /** The network has a network namespace of its own. */
  isolated?: boolean;
  /** The API server's addresses and the Services' CIDRs. */
  elsewhere?: Elsewhere | undefined;
}

/** Works out this node's part in the configured network. */
export function resolveLocal(
  config: NetworkConfig,
  own: OwnFacts,
  machine: Machine,
  { current, family, isolated = false, elsewhere = NOTHING_RESERVED }: LocalOptions = {},
): LocalResult {
  if (own.podCidrs.length === 0) {
    return {
      missing: "podCidr",
      message:
        `Node ${own.name} has no pod CIDR (spec.podCIDRs) yet; does kube-controller-manager run with ` +
        "--allocate-node-cidrs and --cluster-cidr?",
    };
  }
  const result = selectUnderlay({
    ...machine,
    selection: config.underlay,
    internalIps: own.internalIps,
    override: own.underlayOverride,
    current,
    family,
  });
  if ("missing" in result) return { missing: "underlay", message: result.missing };
  const reached = publicIps(result.underlay.ips, config.underlay.publicIp, own);
  if ("missing" in reached) return { missing: "underlay", message: reached.missing };
  const underlay: Underlay = { ...result.underlay, publicIps: reached.ips };
  const [publicIp] = reached.ips;
  // Where it is left open, who asks has found out what is in use (see vni.ts).
  const vni = config.vni === "auto" ? DEFAULT_VNI : config.vni;
  const { mtu, warnings, narrow } = overlayMtu(
    config.mtu,
    underlay,
    own.podCidrs.map(familyOf),
    config.encryption === "off" ? undefined : config.encryption,
  );
  for (const cidr of own.podCidrs) {
    if (isClusterCidr(config.clusterCidrs, cidr)) continue;
    warnings.push(
      `this node's pod CIDR ${cidr} is outside the configured clusterCidrs (${config.clusterCidrs.join(", ")}): ` +
        "the other nodes refuse it; correct clusterCidrs on all nodes",
    );
  }
  const tunnelled = own.podCidrs.map(familyOf).filter((family) => !directFamilies(config).includes(family));
  if (config.directRouting === "auto" && tunnelled.length > 0) {
    warnings.push(
      `directRouting is auto, and clusterCidrs has no IPv${tunnelled.join(" and IPv")} prefix: such packets go through the tunnel to ` +
        "all peers; name the whole cluster's pod CIDRs in clusterCidrs on all nodes",
    );
  }
  return {
    underlay,
    warnings,
    local: {
      network: config.network,
      node: own.name,
      vni,
      device: `sky.${vni}`,
      port: config.port,
      mtu,
      mac: derivedMac(`${own.name}/${vni}`),
      underlayIp: underlay.ip,
      ...(publicIp !== underlay.ip && { publicIp }),
      podCidrs: own.podCidrs,
      clusterCidrs: config.clusterCidrs,
      txChecksum: config.txChecksum,
      ...(isolated && { isolated }),
      directRouting: config.directRouting,
      ...(config.encryption !== "off" && { encryption: config.encryption }),
      ...(narrow !== undefined && { narrow }),
      reserved: reservedHere(machine, elsewhere, own.podCidrs),
    },
  };
}

/** Of so many Nodes the family is looked at, at most. */
const ASKED = 128;

/**
 * The family over which the cluster's nodes receive, by what most of them publish, so that no Node can choose another's; else
 * the one over which this node received when it published itself last; undefined where neither can be told.
 */
export function familyInUse({ own, nodes }: Inputs, network: string): Family | undefined {
  let [balance, asked] = [0, 0];
  for (const { name, vtepAnnotation } of nodes) {
    const ip = name === own.name ? undefined : publishedIp(vtepAnnotation, network);
    if (ip === undefined) continue;
    balance += familyOf(ip) === 4 ? 1 : -1;
    if (++asked >= ASKED) break;
  }
  const last = publishedIp(own.vtepAnnotation, network);
  return balance !== 0 ? (balance > 0 ? 4 : 6) : last === undefined ? undefined : familyOf(last);
}

/** The address at which a node receives, by what it publishes; undefined where that cannot be told. */
export function publishedIp(vtepAnnotation: string | undefined, network: string): string | undefined {
  if (vtepAnnotation === undefined) return undefined;
  try {
    return readVtepAnnotation(vtepAnnotation, network)?.ips[0];
  } catch (error) {
    if (error instanceof AnnotationError) return undefined; // who judges peers says so
    throw error;
  }
}

/** What differs between two versions of this node's part, for the log: "mtu 1450 → 1400". */
export function localChanges(before: LocalNetwork, after: LocalNetwork): string[] {
  const keys = ["mtu", "underlayIp", "publicIp", "podCidrs", "mac", "vni", "port", "clusterCidrs"] as const;
  const changes = keys
    .filter((key) => String(before[key]) !== String(after[key]))
    .map((key) => `${key} ${String(before[key])} → ${String(after[key])}`);
  if (before.narrow !== after.narrow)
    changes.push(after.narrow === undefined ? "IPv6 fits again" : "IPv6 does not fit");
  const same = JSON.stringify(before.reserved) === JSON.stringify(after.reserved);
  return same ? changes : [...changes, "addresses of this host and the cluster that no peer may have"];
}
