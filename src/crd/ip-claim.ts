/** An address and a MAC address that stay a workload's for as long as it wants, wherever its pod runs: the object `IPClaim`. */
import { familyOf, ipScope, parseIp } from "../addr/index.ts";
import { allowedOf } from "./allowed.ts";
import { type ClaimReady, readyOf } from "./claim-conditions.ts";
import { isNetworkName, NETWORK_NAME_RULE } from "./names.ts";
import {
  listOf,
  type Meta,
  metaOf,
  ObjectError,
  optionalTextOf,
  parsedOf,
  refuseKey,
  specOf,
  statusOf,
} from "./object.ts";
import { parsePodMac } from "./selection/pod-mac.ts";
import type { Json } from "../json/index.ts";

const MAX_ALLOWED = 8;

/** A claim. */
export interface IPClaimInfo extends Meta {
  namespace: string;
  network: string;
  /** The pod that uses it, where the pod does not name the claim itself. */
  podName?: string;
  /** Asked for, canonical, at most one a family; empty: any. */
  ips: readonly string[];
  /** Asked for. Absent: any. */
  mac?: string;
  /** Prefixes that its pod may send from besides, where the network is bridged. */
  allowedAddresses?: readonly string[];
  status: {
    /** What it holds, canonical; empty until its first use. */
    ips: readonly string[];
    mac?: string;
    /** Whose it is, or was until that pod's end: node and pod, absent before the first use. */
    node?: string;
    pod?: string;
    /** Tells the pod from one that is made anew by its name. */
    podUid?: string;
    /** Whether it has what it asks for, as far as somebody tried. */
    ready?: ClaimReady;
  };
}

/**
 * Reads one. Its spec is its owner's and must make sense; of its status, which agents write, what makes none is as if it were not there:
 * it must not keep a pod from its claim. @throws ObjectError naming object and key
 */
export function parseIPClaim(object: unknown): IPClaimInfo {
  const meta = metaOf(object, "IPClaim");
  const namespace = (object as { metadata: Json }).metadata["namespace"];
  if (typeof namespace !== "string" || namespace === "")
    throw new ObjectError(`IPClaim ${meta.name}: metadata.namespace is missing`);
  const what = `IPClaim ${namespace}/${meta.name}`;
  const spec = specOf(object, what);
  const { network } = spec;
  if (typeof network !== "string" || !isNetworkName(network))
    return refuseKey(what, "spec.network", network, NETWORK_NAME_RULE);
  const status = sensible(() => statusOf(object, what)) ?? {};
  const podName = optionalTextOf(what, spec, "spec", "podName");
  const node = nameIn(status["node"]);
  const pod = nameIn(status["pod"]);
  const podUid = nameIn(status["podUID"]);
  const ready = readyOf(status);
  return {
    ...meta,
    namespace,
    network,
    ...(podName !== undefined && { podName }),
    ips: ipsOf(what, spec, "spec"),
    ...macOf(what, spec, "spec"),
    ...allowedOf(what, spec, MAX_ALLOWED),
    status: {
      ips: sensible(() => ipsOf(what, status, "status")) ?? [],
      ...sensible(() => macOf(what, status, "status")),
      ...(node !== undefined && { node }),
      ...(pod !== undefined && { pod }),
      ...(podUid !== undefined && { podUid }),
      ...(ready && { ready }),
    },
  };
}

function sensible<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof ObjectError) return undefined;
    throw error;
  }
}

/** A name as the API server gives objects (RFC 1123 subdomain), or a uid, which is one as well. */
const NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const nameIn = (value: unknown): string | undefined =>
  typeof value === "string" && NAME.test(value) ? value : undefined;

/** Addresses under a key `ips`: unicast, at most one a family. @throws ObjectError */
export function ipsOf(what: string, from: Json, section: string): string[] {
  const list = listOf(what, from, section, "ips");
  if (list.length > 2) refuseKey(what, `${section}.ips`, `${list.length} addresses`, "at most one address a family");
  const ips = list.map((one, i) => {
    const ip = parsedOf(what, `${section}.ips[${i}]`, one, "an IP address", parseIp);
    return ipScope(ip) === "unicast" ? ip : refuseKey(what, `${section}.ips[${i}]`, one, "a unicast address");
  });
  if (new Set(ips.map(familyOf)).size < ips.length)
    refuseKey(what, `${section}.ips`, from["ips"], "at most one address a family");
  return ips;
}

function macOf(what: string, from: Json, section: string): { mac?: string } {
  const text = optionalTextOf(what, from, section, "mac");
  return text === undefined ? {} : { mac: parsedOf(what, `${section}.mac`, text, "a MAC address", parsePodMac) };
}
