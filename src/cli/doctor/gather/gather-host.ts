/** What is on this host: parameters, files, sockets, managers of interfaces. Reads only. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { type Family, FAMILIES } from "../../../addr/index.ts";
import { planForwarding, readForwarding } from "../../../host/index.ts";
import { parseListen } from "../../../config/index.ts";
import { type Address, type Link, isPodLinkGroup, type Route, type Rtnl } from "../../../netlink/index.ts";
import { processIds, readSysctl } from "../../../sys/index.ts";
import { describeError } from "../../main.ts";
import type { ListenAnswer, Looked, ManagerFacts, SysctlFacts, UdpHolder } from "../facts.ts";

/** Parameters, of the host where a container has them mounted (SKYLANE_PROC_SYS). */
export function gatherSysctls(
  links: readonly Link[],
  addresses: readonly Address[],
  routes: readonly Route[],
): SysctlFacts {
  const state = readForwarding(
    links,
    addresses,
    routes.filter(({ family }) => family === 6),
  );
  const all = Number(readSysctl("net.ipv4.conf.all.rp_filter") ?? 0);
  const uplinks = links.filter(
    ({ index, loopback, group, name }) =>
      !loopback &&
      !isPodLinkGroup(group) &&
      !name.startsWith("sky") &&
      addresses.some(({ ifindex }) => ifindex === index),
  );
  return {
    ipForward: state.ipv4,
    ipv6Forwarding: state.ipv6,
    pending: planForwarding(state),
    rpFilter: Object.fromEntries(
      uplinks.map(({ name }) => [
        name,
        String(Math.max(all, Number(readSysctl(`net.ipv4.conf.${name}.rp_filter`) ?? 0))),
      ]),
    ),
    bridgeNf: readSysctl("net.bridge.bridge-nf-call-iptables"),
    conntrackMax: readSysctl("net.netfilter.nf_conntrack_max"),
    conntrackCount: readSysctl("net.netfilter.nf_conntrack_count"),
    gcThresh3: {
      4: readSysctl("net.ipv4.neigh.default.gc_thresh3"),
      6: readSysctl("net.ipv6.neigh.default.gc_thresh3"),
    },
  };
}

/** NUD_PERMANENT and NUD_NOARP: entries that the table's limits do not count. */
const UNCOUNTED = 0x80 | 0x40;

/** Neighbours that count against the limits. */
export function countNeighbours(rtnl: Pick<Rtnl, "neighbours">): Record<Family, number> {
  const of = (family: Family): number =>
    rtnl.neighbours({ family }).filter(({ state = 0 }) => (state & UNCOUNTED) === 0).length;
  return { 4: of(4), 6: of(6) };
}

/** Files that a runtime would take for CNI configurations, in its order (libcni, ConfFiles). */
export function confFiles(directory: string): Looked<string[]> {
  try {
    return {
      value: readdirSync(directory)
        .filter((name) => /\.(conf|conflist|json)$/.test(name))
        .sort(),
    };
  } catch (error) {
    return { error: describeError(error) };
  }
}

/** Sockets on a UDP port; the kernel's own VXLAN socket is among them where there is one. */
export function udpHolders(port: number): UdpHolder[] {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return FAMILIES.flatMap((family) =>
    lines(family === 4 ? "/proc/self/net/udp" : "/proc/self/net/udp6").flatMap((line): UdpHolder[] => {
      const fields = line.trim().split(/\s+/);
      return fields[1]?.endsWith(wanted) ? [{ family, process: processWith(fields[9] ?? "") }] : [];
    }),
  );
}

function lines(path: string): string[] {
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(1) : [];
}

/** The process that has a socket open; undefined when none that can be seen has it. */
function processWith(inode: string): string | undefined {
  const wanted = `socket:[${inode}]`;
  for (const pid of processIds()) {
    try {
      const fds = `/proc/${pid}/fd`;
      if (readdirSync(fds).some((fd) => isLink(join(fds, fd), wanted)))
        return `${readFileSync(`/proc/${pid}/comm`, "utf8").trim()} (pid ${pid})`;
    } catch (error) {
      if (!gone(error)) throw error;
    }
  }
  return undefined;
}

function isLink(path: string, target: string): boolean {
  try {
    return readlinkSync(path) === target;
  } catch (error) {
    if (gone(error)) return false;
    throw error;
  }
}

/** Processes end while one looks at them, and some may not be looked at. */
const gone = (error: unknown): boolean =>
  ["ENOENT", "ESRCH", "EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "");

/** Who answers on the agent's address; undefined when there is none. */
export function whoListens(listen: string, timeoutMs = 2_000): Promise<ListenAnswer | undefined> {
  if (listen === "") return Promise.resolve(undefined);
  const { host = "127.0.0.1", port } = parseListen(listen);
  return new Promise((resolve) => {
    const ask = request({ host, port, path: "/readyz", agent: false, timeout: timeoutMs }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => {
        if (body.length < 65_536) body += text;
      });
      response.on("end", () => resolve(/"ready"\s*:.*"checks"\s*:/s.test(body) ? "agent" : "other"));
      response.on("error", () => resolve("other"));
    });
    ask.on("timeout", () => ask.destroy());
    ask.on("error", (error: NodeJS.ErrnoException) => resolve(error.code === "ECONNREFUSED" ? "nobody" : "other"));
    ask.end();
  });
}

/** NetworkManager and systemd-networkd, by the state that they keep under /run of the host. */
export function gatherManagers(links: readonly Link[], run = "/run"): ManagerFacts {
  // these files name devices by index, which says nothing in another namespace than the managers' own
  if (!ofFirstProcess()) return { networkManager: false, networkd: false, managed: [], visible: false };
  const networkManager = existsSync(join(run, "NetworkManager"));
  const networkd = existsSync(join(run, "systemd/netif/links"));
  const managed: ManagerFacts["managed"][number][] = [];
  for (const { index, name, group } of links) {
    if (!name.startsWith("sky") || (!isPodLinkGroup(group) && !/^sky\.\d+$/.test(name))) continue;
    const nm = keys(join(run, "NetworkManager/devices", String(index)));
    if (nm?.["managed"] === "true" || nm?.["connection-uuid"])
      managed.push({ manager: "NetworkManager", device: name, detail: nm["connection-uuid"] ?? "managed=true" });
    const nd = keys(join(run, "systemd/netif/links", String(index)));
    if (nd?.["ADMIN_STATE"] && nd["ADMIN_STATE"] !== "unmanaged")
      managed.push({ manager: "systemd-networkd", device: name, detail: nd["NETWORK_FILE"] ?? nd["ADMIN_STATE"] });
  }
  return { networkManager, networkd, managed, visible: existsSync(join(run, "systemd")) };
}

/** Whether this process has the network of the first one: the host's, or that of a lab's or container's own host. */
function ofFirstProcess(): boolean {
  try {
    return readlinkSync("/proc/1/ns/net") === readlinkSync("/proc/self/ns/net");
  } catch (error) {
    if (gone(error)) return true;
    throw error;
  }
}

function keys(path: string): Record<string, string> | undefined {
  if (!existsSync(path)) return undefined;
  return Object.fromEntries(
    readFileSync(path, "utf8")
      .split("\n")
      .flatMap((line) => {
        const [, key, value] = /^([A-Za-z_-]+)=(.*)$/.exec(line) ?? [];
        return key === undefined ? [] : [[key, value ?? ""]];
      }),
  );
}
