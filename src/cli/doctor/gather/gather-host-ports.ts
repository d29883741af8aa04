/**
 * Host ports of running pods whose rules are gone: our own, and those of the plugin portmap. Which pods have some of these is in the runtimes' own records of what they attached (libcni's
 * cache, one file an attachment, in the same place for all runtimes); a record without its host end on this node is a leftover.
 */
import { readdirSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { type Family, familyOf } from "../../../addr/index.ts";
import type { Link } from "../../../netlink/index.ts";
import { hostPortRules, type RunTool } from "../../../dataplane/nft/index.ts";
import { type HostPortRecord, HostPortRecords, missingHostPorts } from "../../../dataplane/host-ports/index.ts";
import { hostIfname } from "../../../dataplane/pod-link/index.ts";
import type { LostHostPort } from "../facts.ts";

/** More than any node has pods. */
const MOST_RECORDS = 10_000;

interface Mapping {
  hostPort?: number;
  protocol?: string;
  hostIP?: string;
}

/** What of a record is needed. */
interface Attached {
  network: string;
  containerId: string;
  ifname: string;
  families: Family[];
  mappings: Mapping[];
}

/** Our own, by our records. @throws Error where these cannot be read; NftError */
export async function ownHostPorts(
  dataDir: string,
  links: readonly Link[],
  run: RunTool,
): Promise<{ all: number; lost: LostHostPort[] }> {
  const records = ownRecords(dataDir, links);
  const all = records.reduce((sum, { ports }) => sum + ports.length, 0);
  return { all, lost: await missingHostPorts(run, records) };
}

/** Records of pods that are here. */
function ownRecords(dataDir: string, links: readonly Link[]): HostPortRecord[] {
  const names = new Set(links.map(({ name }) => name));
  return new HostPortRecords(dataDir)
    .list()
    .filter(({ owner: { containerId, ifname } }) => names.has(hostIfname(containerId, ifname)));
}

/** Those of portmap. @throws Error where the records cannot be read; NftError */
export async function lostHostPorts(
  directory: string,
  dataDir: string,
  links: readonly Link[],
  run: RunTool,
): Promise<{ all: number; lost: LostHostPort[] }> {
  const names = new Set(links.map(({ name }) => name));
  for (const { owner } of ownRecords(dataDir, links)) names.delete(hostIfname(owner.containerId, owner.ifname));
  const pods = readdirSync(directory)
    .slice(0, MOST_RECORDS)
    .flatMap((file) => recordIn(join(directory, file)) ?? [])
    .filter(({ containerId, ifname }) => names.has(hostIfname(containerId, ifname)));
  if (pods.length === 0) return { all: 0, lost: [] };
  const rules = await hostPortRules(run);
  const lost = pods.flatMap(({ network, containerId, families, mappings }) =>
    mappings
      .filter(({ hostIP = "" }) => {
        const wanted = isIP(hostIP) !== 0 ? families.filter((family) => family === familyOf(hostIP)) : families;
        return wanted.some((family) => !rules.has(network, containerId, family));
      })
      .map(({ hostPort, protocol = "tcp" }): LostHostPort => ({ port: `${hostPort}/${protocol}`, containerId })),
  );
  return { all: pods.reduce((sum, { mappings }) => sum + mappings.length, 0), lost };
}

/** A record with host ports; undefined for all others, and for what is none. */
function recordIn(path: string): Attached | undefined {
  let record: {
    containerId?: unknown;
    networkName?: unknown;
    ifName?: unknown;
    capabilityArgs?: { portMappings?: Mapping[] };
    result?: { ips?: { address?: string }[] };
  };
  try {
    record = JSON.parse(readFileSync(path, "utf8")) as typeof record;
  } catch {
    return undefined; // being written, gone, or of an older libcni, which kept the result alone
  }
  const { containerId, networkName, ifName, capabilityArgs, result } = record;
  const mappings = (capabilityArgs?.portMappings ?? []).filter(({ hostPort = 0 }) => hostPort > 0);
  if (mappings.length === 0) return undefined;
  if (typeof containerId !== "string" || typeof networkName !== "string" || typeof ifName !== "string")
    return undefined;
  const ips = (result?.ips ?? []).map(({ address = "" }) => address.split("/")[0] ?? "").filter((ip) => isIP(ip) !== 0);
  return { network: networkName, containerId, ifname: ifName, families: [...new Set(ips.map(familyOf))], mappings };
}
