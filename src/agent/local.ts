/**
 * From our own Node's facts, the configuration and this machine's addresses to the network that this node takes
 * part in, or to the one thing that is missing for it. Pure, so that a start and every later change are the same.
 */
import { derivedMac, familyOf } from "../addr/index.ts";
import type { AgentConfig } from "../config/index.ts";
import { isClusterCidr, type LocalNetwork, NOTHING_RESERVED } from "../overlay/index.ts";
import { directFamilies } from "./direct.ts";
import type { OwnFacts } from "./inputs.ts";
import { overlayMtu } from "./mtu.ts";
import { type Elsewhere, reservedHere } from "./reserved.ts";
import { selectUnderlay, type Underlay, type UnderlayInput } from "./underlay.ts";
import { DEFAULT_VNI } from "./vni.ts";
import type { WaitKind } from "./waiting.ts";

/** The machine as far as the choice depends on it. */
export type Machine = Pick<UnderlayInput, "links" | "addresses"> & {
  /** The kernel's route lookup; undefined where it finds no route. */
  routeTo(ip: string): { ifindex?: number; prefSrc?: string; gateway?: string } | undefined;
};

/** This node's part, or what is missing. */
export type LocalResult =
  | { local: LocalNetwork; underlay: Underlay; warnings: string[] }
  | { missing: WaitKind; message: string };

/** What else decides. */
export interface LocalOptions {
  /** The underlay address in use. */
  current?: string | undefined;
  /** The network has a network namespace of its own. */
  isolated?: boolean;
  /** The API server's addresses and the Services' CIDRs. */
  elsewhere?: Elsewhere | undefined;
}

/** Works out this node's part in the configured network. */
export function resolveLocal(
  config: AgentConfig,
  own: OwnFacts,
  machine: Machine,
  { current, isolated = false, elsewhere = NOTHING_RESERVED }: LocalOptions = {},
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
  });
  if ("missing" in result) return { missing: "underlay", message: result.missing };
  const { underlay } = result;
  // Where it is left open, who asks has found out what is in use (see vni.ts).
  const vni = config.vni === "auto" ? DEFAULT_VNI : config.vni;
  const { mtu, warnings, narrow } = overlayMtu(config.mtu, underlay, own.podCidrs.map(familyOf));
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
      podCidrs: own.podCidrs,
      clusterCidrs: config.clusterCidrs,
      txChecksum: config.txChecksum,
      ...(isolated && { isolated }),
      directRouting: config.directRouting,
      ...(narrow !== undefined && { narrow }),
      reserved: reservedHere(machine, elsewhere, own.podCidrs),
    },
  };
}

/** What differs between two versions of this node's part, for the log: "mtu 1450 → 1400". */
export function localChanges(before: LocalNetwork, after: LocalNetwork): string[] {
  const keys = ["mtu", "underlayIp", "podCidrs", "mac", "vni", "port", "clusterCidrs"] as const;
  const changes = keys
    .filter((key) => String(before[key]) !== String(after[key]))
    .map((key) => `${key} ${String(before[key])} → ${String(after[key])}`);
  if (before.narrow !== after.narrow)
    changes.push(after.narrow === undefined ? "IPv6 fits again" : "IPv6 does not fit");
  const same = JSON.stringify(before.reserved) === JSON.stringify(after.reserved);
  return same ? changes : [...changes, "addresses of this host and the cluster that no peer may have"];
}
