/**
 * What of this host no peer may have (peers/reserved.ts): the API server's addresses and the Services' CIDRs, which are looked up from
 * time to time, and from the machine as it is its own addresses, its gateways and what is on its links.
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { addressBits, FAMILIES, familyOf, bigIntToIp, cidrOf, ipScope, parseIp } from "../addr/index.ts";
import type { AgentConfig } from "../config/index.ts";
import type { KubeClient } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import { type Address, isPodLinkGroup, type Link, UPLINK_LINK_GROUP } from "../netlink/index.ts";
import type { Reserved } from "../peers/index.ts";
import { Task } from "../reconcile/index.ts";
import { serviceCidrsOf } from "./service-cidrs.ts";

/** What the API server alone says of it, so that the cache has it, too. */
export type ReservedCidrs = Pick<Reserved, "services" | "pods">;

/** What does not follow from the machine. */
export type Elsewhere = Pick<Reserved, "apiServer" | "services" | "pods">;

/** The machine as far as it depends on it. */
export interface ReservedInput {
  links: readonly Link[];
  addresses: readonly Address[];
  routeTo(ip: string): { gateway?: string } | undefined;
}

/** Any address outside: the way there is the default route (RFC 5737, RFC 3849: they are nobody's). */
const OUTSIDE = { 4: "192.0.2.1", 6: "2001:db8::1" } as const;
/** Devices of other CNI plugins, whose addresses are pods' as long as a node moves from them; and kube-proxy's, which has the Services'. */
const FOREIGN =
  /^(flannel[.-]|cni\d|cali|tunl\d|vxlan\.calico|wireguard\.cali|wg-v6\.cali|cilium_|lxc|antrea-gw|kube-ipvs0|weave)/;

/** Puts it together. @param podCidrs this node's own */
export function reservedHere(
  machine: ReservedInput,
  { apiServer, services, pods }: Elsewhere,
  podCidrs: readonly string[],
): Reserved {
  const byIndex = new Map(machine.links.map((link) => [link.index, link]));
  const counted = machine.addresses.filter(({ ifindex, ip }) => {
    const link = byIndex.get(ifindex);
    return link !== undefined && !isOurs(link) && !FOREIGN.test(link.name) && ipScope(ip) === "unicast";
  });
  const gateways = [...FAMILIES.map((family) => OUTSIDE[family]), ...apiServer].flatMap(
    (ip) => machine.routeTo(ip)?.gateway ?? [],
  );
  return {
    apiServer,
    services,
    pods,
    gateways: inOrder(gateways),
    own: inOrder(counted.map(({ ip }) => ip)),
    onLink: inOrder(
      counted
        .filter(({ ifindex, ip, prefix }) => prefix < addressBits(familyOf(ip)) && leadsOut(byIndex.get(ifindex)))
        .map(({ ip, prefix }) => `${bigIntToIp(cidrOf(`${ip}/${prefix}`).first, familyOf(ip))}/${prefix}`),
    ),
    podCidrs,
  };
}

const isOurs = ({ group, name }: Link): boolean =>
  isPodLinkGroup(group) || group === UPLINK_LINK_GROUP || /^sky\.\d+$/.test(name);

/** A bridge without a port, as container engines leave it, has no neighbours that one could cut off. */
const leadsOut = (link: Link | undefined): boolean => link?.lowerUp === true && !link.loopback;

/** Another one for the same facts in another order is none. */
const inOrder = (list: readonly string[]): string[] => [...new Set(list)].sort();

/** Looked up again after this long, in milliseconds: a name may lead elsewhere, and Services' CIDRs come later. */
const LOOK_MS = 5 * 60_000;

export interface ElsewhereOptions {
  config: Pick<AgentConfig, "serviceCidrs" | "clusterCidrs">;
  /** As an earlier run knew it. */
  cached: ReservedCidrs | undefined;
  /** CIDRs of the pod networks that are defined; undefined before that is known. */
  networks: () => readonly string[] | undefined;
  log: Logger;
  /** The API server's addresses or the Services' CIDRs are others now. */
  onChange: () => void;
}

/** Looks up what does not follow from the machine; what was found last counts while nothing better is. */
export class ReservedElsewhere {
  #now: Pick<Elsewhere, "apiServer" | "services">;
  readonly #options: ElsewhereOptions;
  readonly #task: Task;
  #timer: NodeJS.Timeout | undefined;

  constructor(client: KubeClient, options: ElsewhereOptions) {
    this.#options = options;
    const { config, cached, log, onChange } = options;
    const { serviceCidrs } = config;
    const services = serviceCidrs.length > 0 ? serviceCidrs : (cached?.services ?? []);
    this.#now = { apiServer: inOrder(addressIn(client.server)), services };
    const look = async (): Promise<void> => {
      const services = await serviceCidrsOf(client, serviceCidrs);
      const apiServer = inOrder(await addressesOf(client.server));
      if (JSON.stringify(this.#now) === JSON.stringify({ apiServer, services })) return;
      this.#now = { apiServer, services };
      onChange();
    };
    this.#task = new Task(look, { baseMs: 1_000, maxMs: LOOK_MS }, (error, attempt) => {
      if (attempt === 1)
        log.info("cannot look up the API server's addresses and the Services' CIDRs; trying again", { error });
    });
  }

  get now(): Elsewhere {
    const { config, cached, networks } = this.#options;
    return { ...this.#now, pods: inOrder([...config.clusterCidrs, ...(networks() ?? cached?.pods ?? [])]) };
  }

  start(): void {
    this.#task.want();
    this.#timer = setInterval(() => this.#task.want(), LOOK_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#task.stop();
  }
}

const hostOf = (server: string): string =>
  URL.canParse(server) ? new URL(server).hostname.replace(/^\[|\]$/g, "") : "";

/** The address that a URL names, if it names one that others have, too. */
function addressIn(server: string): string[] {
  const host = hostOf(server);
  if (isIP(host) === 0) return [];
  const ip = parseIp(host);
  return ipScope(ip) === "unicast" ? [ip] : [];
}

async function addressesOf(server: string): Promise<string[]> {
  const host = hostOf(server);
  if (host === "" || isIP(host) !== 0) return addressIn(server);
  const found = await lookup(host, { all: true });
  return found.map(({ address }) => parseIp(address)).filter((ip) => ipScope(ip) === "unicast");
}
