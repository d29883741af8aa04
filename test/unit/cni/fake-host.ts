/** A machine without a kernel: links, addresses and published state in memory, with faults to order. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Attachments } from "../../../src/cni/attachments.ts";
import type { Duration, Host } from "../../../src/cni/index.ts";
import type { PublishedNetwork } from "../../../src/config/index.ts";
import { IpamExhausted, type Reservation } from "../../../src/ipam/local/index.ts";
import { isUnlimited, type LimitRequest } from "../../../src/dataplane/bandwidth/index.ts";
import type { HostPortRequest } from "../../../src/dataplane/host-ports/index.ts";
import type { PodLink } from "../../../src/dataplane/pod-link/index.ts";
import { bootId } from "../../../src/sys/index.ts";

const PUBLISHED: PublishedNetwork = {
  version: 1,
  network: "default",
  node: "n1",
  vni: 4096,
  device: "sky.4096",
  mtu: 1450,
  podCidrs: ["10.244.1.0/29", "fd00:1::/64"],
  clusterCidrs: [],
};

export class FakeHost implements Host {
  readonly dir = mkdtempSync(join(tmpdir(), "skylane-cni-"));
  /** Sandboxes that exist; "/run/netns/host" is the host's own. */
  sandboxes = new Set(["/run/netns/pod", "/run/netns/pod2", "/run/netns/host"]);
  published: PublishedNetwork | undefined = PUBLISHED;
  /** Further networks, by name. */
  networks = new Map<string, PublishedNetwork>();
  /** What the published file is said to be broken by. */
  publishedError: Error | undefined;
  devices = new Set(["sky.4096"]);
  links = new Map<string, PodLink>();
  reservations: Reservation[] = [];
  routes: unknown[] = [];
  attachSpecs: unknown[] = [];
  differences: string[] = [];
  bootId = bootId();
  /** Thrown by the next call of that name. */
  fail: Partial<
    Record<"attachPod" | "detachPod" | "mapPorts" | "unmapPorts" | "limit" | "unlimit" | "release" | "addRoutes", Error>
  > = {};
  #next = 2;

  #failing(name: keyof FakeHost["fail"]): void {
    const error = this.fail[name];
    if (error) throw error;
  }

  isOwnNetns(path: string): boolean {
    if (!this.sandboxes.has(path)) throw Object.assign(new Error(`ENOENT opening ${path}`), { code: "ENOENT" });
    return path === "/run/netns/host";
  }

  readPublished(_runDir: string, network: string): PublishedNetwork | undefined {
    if (this.publishedError) throw this.publishedError;
    return this.networks.get(network) ?? this.published;
  }

  /** As the agent has it; the plugin on its own has none. */
  prepare?: NonNullable<Host["prepare"]>;

  /** Networks of which attachments went, in order. */
  leftNetworks: string[] = [];

  left(network: string): void {
    this.leftNetworks.push(network);
  }

  /** What CHECK is to find wrong with host ports. */
  portDifferences: string[] = [];

  /** Host ports by "container/ifname". */
  ports = new Map<string, HostPortRequest>();

  /** Limits by `<containerId>/<ifname>`, those that pods asked for. */
  limits = new Map<string, LimitRequest>();
  /** What CHECK is to find wrong with limits. */
  limitDifferences: string[] = [];

  bandwidth(): ReturnType<Host["bandwidth"]> {
    return {
      limit: async (request) => {
        this.#failing("limit");
        const { containerId, ifname } = request.owner;
        if (!isUnlimited(request.limits)) this.limits.set(`${containerId}/${ifname}`, request);
      },
      unlimit: async ({ containerId, ifname }) => {
        this.#failing("unlimit");
        this.limits.delete(`${containerId}/${ifname}`);
      },
      differences: () => this.limitDifferences,
    };
  }

  hostPorts(): ReturnType<Host["hostPorts"]> {
    return {
      map: async (request) => {
        this.#failing("mapPorts");
        this.ports.set(`${request.owner.containerId}/${request.owner.ifname}`, request);
      },
      unmap: async ({ containerId, ifname }) => {
        this.#failing("unmapPorts");
        this.ports.delete(`${containerId}/${ifname}`);
      },
      differences: (_owner, asked) => [
        ...asked.filter(() => this.ports.size === 0).map(({ hostPort }) => `host port ${hostPort} is not recorded`),
        ...this.portDifferences,
      ],
    };
  }

  ipam(): ReturnType<Host["ipam"]> {
    return {
      reserve: (owner, { podCidrs, ips = [] }) => {
        if (this.#next > 6) throw new IpamExhausted(podCidrs.join(", "), 5n, 5n);
        const n = this.#next++;
        const given = ips.length > 0 ? [...ips] : [`10.244.1.${n}`, `fd00:1::${n}`];
        const origin = { since: 0, uptime: 0, bootId: this.bootId };
        this.reservations.push(...given.map((ip) => ({ ip, owner, ...origin })));
        return given;
      },
      release: ({ containerId, ifname }) => {
        this.#failing("release");
        const mine = this.reservations.filter(
          ({ owner }) => owner.containerId === containerId && owner.ifname === ifname,
        );
        this.reservations = this.reservations.filter((one) => !mine.includes(one));
        return mine.map(({ ip }) => ip);
      },
      reservationsOf: ({ containerId, ifname }) =>
        this.reservations
          .filter(({ owner }) => owner.containerId === containerId && owner.ifname === ifname)
          .map(({ ip }) => ip),
      list: () => this.reservations,
      collect: (isDead) => {
        const dead = this.reservations.filter(isDead);
        this.reservations = this.reservations.filter((one) => !dead.includes(one));
        return dead;
      },
    };
  }

  attachments({ dataDir, network }: { dataDir: string; network: string }): Attachments {
    return new Attachments(dataDir, network, ({ containerId, ifname }) => this.hostIfname(containerId, ifname));
  }

  origin(): ReturnType<Host["origin"]> {
    return { since: 0, uptime: 0, bootId: this.bootId };
  }

  attachPod: Host["attachPod"] = (spec) => {
    this.#failing("attachPod");
    this.attachSpecs.push(spec);
    const hostIfname = this.hostIfname(spec.containerId, spec.ifname);
    const link = {
      hostIfname,
      hostMac: "ee:ee:ee:ee:ee:ee",
      podMac: spec.mac ?? "02:00:00:00:00:01",
      ifname: spec.ifname,
      addresses: [...spec.addresses],
      gateways: spec.addresses.map((ip) => (ip.includes(":") ? "fe80::1" : "169.254.1.1")),
    };
    this.links.set(hostIfname, link);
    return link;
  };

  detachPod: Host["detachPod"] = ({ containerId, ifname }) => {
    this.#failing("detachPod");
    this.links.delete(this.hostIfname(containerId, ifname));
  };

  /** Sandboxes out of which routing by source was taken. */
  forgotten: string[] = [];

  forgetSource: Host["forgetSource"] = (netns) => void this.forgotten.push(netns);

  /** Families of which another interface has the default route. */
  routed: (4 | 6)[] = [];

  defaultFamilies = (): (4 | 6)[] => this.routed;

  checkPod: Host["checkPod"] = () => this.differences;

  hostIfname = (containerId: string, ifname: string): string => `sky-${containerId}-${ifname}`;

  podMacOf = (): string => "02:00:00:00:00:01";

  addRoutes: Host["addRoutes"] = (_netns, _ifname, routes) => {
    this.#failing("addRoutes");
    this.routes.push(...routes);
  };

  /** Whether the sandbox's loopback interface is up. */
  lo = false;

  loopback(_netns: string, up = this.lo): { up: boolean; addresses: string[] } {
    this.lo = up;
    return { up, addresses: up ? ["127.0.0.1/8", "::1/128"] : [] };
  }

  deviceUp = (name: string): boolean => this.devices.has(name);

  underlay: string | undefined;

  underlayFault = (): string | undefined => this.underlay;

  readOnly = false;

  requireWritable(): void {
    if (this.readOnly) throw Object.assign(new Error("EROFS: read-only file system"), { code: "EROFS" });
  }

  /** As the agent has it. */
  joinable?: NonNullable<Host["joinable"]>;

  durations: Duration[] = [];

  recordDuration(_runDir: string, duration: Duration): void {
    this.durations.push(duration);
  }

  /** Everything that an attachment consists of. */
  remains(): unknown[] {
    const records = this.attachments({ dataDir: this.dir, network: "default" }).list();
    return [
      ...this.links.keys(),
      ...this.reservations.map(({ ip }) => ip),
      ...records.map(({ owner }) => owner.containerId),
    ];
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
