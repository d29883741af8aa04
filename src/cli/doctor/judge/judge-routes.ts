/** What others do to the ways between this host and pods: policy routing by source, routes over our devices, host ports flushed away. */
import { cidrContains } from "../../../addr/index.ts";
import { isPodLinkGroup, OVERLAY_LINK_GROUP, ROUTE_PROTOCOL, type Route, type Rule } from "../../../netlink/index.ts";
import { type Facts, type LostHostPort, networkOf } from "../facts.ts";
import { fail, type Finding, ok, skip, some, warn } from "../finding.ts";

const MAIN = 254;
/** Tables of nm-cloud-setup, one an interface or address (NetworkManager, src/nm-cloud-setup/main.c). */
const isCloudSetup = ({ table }: Rule): boolean => table >= 30_200 && table < 30_600;

const inWords = ({ priority, src, table }: Rule): string => `${priority}: from ${src ?? "all"} lookup ${table}`;

function sources(facts: Facts): Finding {
  const name = "routes.source";
  const { astray, rules } = facts;
  if (astray.length === 0) return ok(name, "what this host sends from its own addresses reaches pods");
  const from = new Set(astray.map((one) => one.from));
  const guilty = rules.filter(
    ({ src, priority, table }) =>
      src !== undefined && priority < 32_766 && table !== MAIN && [...from].some((ip) => cidrContains(src, ip)),
  );
  const misled = astray.map((one) => `${one.from} → ${one.to} leaves by ${one.device ?? "no device"}`);
  const found = `${some(misled, 2)}${guilty.length > 0 ? ` because of rule ${some(guilty.map(inWords), 3)}` : ""}`;
  const meaning =
    "What this host answers to pods from that address, and sends to Services from it, goes astray: pods cannot use its kubelet, nor what else runs on the host's network.";
  const cure = guilty.some(isCloudSetup)
    ? "These are rules of nm-cloud-setup: systemctl disable --now nm-cloud-setup.service nm-cloud-setup.timer, then restart the machine."
    : "Keep pods' addresses in the main table: ip rule add priority 100 to POD-CIDR lookup main, for all pod CIDRs of the cluster (and where the system keeps it).";
  const harmful = networkOf(facts)?.underlayIp;
  return harmful === undefined || from.has(harmful)
    ? fail(name, found, meaning, cure)
    : warn(name, found, meaning, cure);
}

/** Routes over our devices that are neither ours nor the kernel's own for link-local and group addresses. */
function foreignOver({ links, routes }: Facts): { route: Route; device: string }[] {
  return routes.flatMap((route) => {
    const link = links.find(({ index }) => index === route.ifindex);
    const ours = link !== undefined && (isPodLinkGroup(link.group) || link.group === OVERLAY_LINK_GROUP);
    const { dst, protocol } = route;
    if (!ours || protocol === ROUTE_PROTOCOL) return [];
    // Single addresses belong to whoever has them; a plugin or an operator may well add one.
    const usual = /^(fe80:|ff00:)/.test(dst) || /\/(32|128)$/.test(dst);
    return usual ? [] : [{ route, device: link.name }];
  });
}

function defaults(facts: Facts): Finding {
  const name = "routes.devices";
  const found = foreignOver(facts);
  if (found.length === 0) return ok(name, "nobody else has routes over Skylane's devices");
  const text = found.map(
    ({ route, device }) => `${route.dst} dev ${device}${route.metric === undefined ? "" : ` metric ${route.metric}`}`,
  );
  const isDefault = found.some(
    ({ route }) => route.dst === "default" || route.dst.endsWith("/0") || route.dst.endsWith("/1"),
  );
  const cure =
    "Have whoever configures interfaces leave sky* alone (dhcpcd: denyinterfaces sky*; ConnMan: NetworkInterfaceBlacklist=sky; NetworkManager, systemd-networkd: see managers), then " +
    `ip route delete ${text[0]}.`;
  return isDefault
    ? fail(
        name,
        some(text),
        "What this host sends to the outside goes to a pod or into the tunnel, as long as no better route is there.",
        cure,
      )
    : warn(name, some(text), "What this host sends there goes to a pod or into the tunnel.", cure);
}

const portsInWords = (lost: readonly LostHostPort[]): string =>
  some(lost.map(({ port, containerId }) => `${port} of container ${containerId.slice(0, 13)}`));

function hostPorts({ lostHostPorts: looked, ownHostPorts: own }: Facts): Finding {
  const name = "hostports";
  if ("error" in own) return skip(name, `the records of host ports cannot be read from here: ${own.error}`);
  if (own.value.lost.length > 0)
    return fail(
      name,
      `${portsInWords(own.value.lost)}: the packet filter does not have them`,
      "These host ports lead nowhere. skylane-agent puts them back whenever somebody removes them: it does not run, or the kernel refuses its table.",
      "See skylanectl status, and the log of the skylane-agent pod of this node.",
    );
  // Pods of our own need nothing of the runtime's.
  if ("error" in looked && own.value.all === 0)
    return skip(name, `the records of the container runtime cannot be read from here: ${looked.error}`);
  const { all, lost } = "error" in looked ? { all: 0, lost: [] } : looked.value;
  if (lost.length === 0) {
    const count = all + own.value.all;
    return ok(name, count === 0 ? "no pod of this node has host ports" : `${count} host ports are in place`);
  }
  return fail(
    name,
    `${portsInWords(lost)}: the rules are gone`,
    "Somebody has flushed the packet filter (iptables -F, a reload of firewalld or nftables.service): these host ports lead nowhere. The plugin portmap makes its rules with the pod and never again.",
    "Delete these pods, which come anew with their rules (crictl pods --id CONTAINER says which each is); hostPorts: own has Skylane map and repair those of new pods.",
  );
}

/** All about routes between this host and pods. */
export const judgeRoutes = (facts: Facts): Finding[] => [sources(facts), defaults(facts), hostPorts(facts)];
