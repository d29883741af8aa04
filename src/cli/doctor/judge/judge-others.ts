/** Others on this node: leftovers of CNI plugins, packet filters, and programs that manage interfaces. */
import { cidrsOverlap } from "../../../addr/index.ts";
import { type Link, isPodLinkGroup, ROUTE_PROTOCOL, type Route, type Rule } from "../../../netlink/index.ts";
import { type Facts, networkOf } from "../facts.ts";
import { fail, type Finding, ok, skip, some, warn } from "../finding.ts";

/** By what other CNI plugins are known. */
const PLUGINS: readonly { plugin: string; device?: RegExp; chain?: RegExp }[] = [
  { plugin: "flannel", device: /^flannel[.-]/, chain: /^FLANNEL-/ },
  { plugin: "Calico", device: /^(vxlan(-v6)?\.calico|wireguard\.cali|cali[0-9a-f]{11})$/, chain: /^cali-/ },
  {
    plugin: "Cilium",
    device: /^(cilium_(host|net|vxlan|geneve|wg0)|lxc(_health|[0-9a-f]{12}))$/,
    chain: /^(OLD_)?CILIUM_/,
  },
  { plugin: "Weave Net", device: /^(weave|datapath|vxlan-6784|vethwe-\w+)$/, chain: /^WEAVE(-|$)/ },
  { plugin: "kube-router", device: /^(kube-bridge|kube-dummy-if)$/, chain: /^KUBE-(ROUTER-|POD-FW-|NWPLCY-)/ },
  { plugin: "Antrea", device: /^antrea-/, chain: /^ANTREA-/ },
  { plugin: "OVN-Kubernetes", device: /^(ovn-k8s-|genev_sys_)/, chain: /^OVN-KUBE-/ },
  { plugin: "kindnet", chain: /^KIND-MASQ-AGENT$/ },
  { plugin: "a bridge plugin", device: /^(cni0|cbr0)$/ },
];

function named(names: readonly string[], kind: "device" | "chain"): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const name of names) {
    const plugin = PLUGINS.find((one) => one[kind]?.test(name))?.plugin;
    if (plugin) found.set(plugin, [...(found.get(plugin) ?? []), name]);
  }
  return found;
}

const listed = (found: ReadonlyMap<string, readonly string[]>): string =>
  [...found].map(([plugin, names]) => `${plugin}: ${some(names, 4)}`).join("; ");

function devices({ links }: Facts): Finding {
  const found = named(
    links.map(({ name }) => name),
    "device",
  );
  if (found.size === 0) return ok("others.devices", "no device of another CNI plugin");
  const names = [...found.values()].flat();
  return warn(
    "others.devices",
    listed(found),
    "Another CNI plugin runs here or has left its devices; pods that it made are still on them.",
    `Once no pod uses them: ${names
      .slice(0, 2)
      .map((name) => `ip link delete ${name}`)
      .join("; ")} … (docs/operations.md), or restart the machine.`,
  );
}

const MAIN = 254;
const UNICAST = 1;

/** Routes to pods, of any node, that are not Skylane's. */
function foreignRoutes(facts: Facts): { route: Route; link: Link | undefined }[] {
  const network = networkOf(facts);
  if (!network) return [];
  const cidrs = [...network.podCidrs, ...network.peers.flatMap(({ podCidrs }) => podCidrs)];
  return facts.routes.flatMap((route) => {
    const { dst, protocol, ifindex, type = UNICAST, table = MAIN } = route;
    const link = facts.links.find(({ index }) => index === ifindex);
    const ours =
      protocol === ROUTE_PROTOCOL ||
      (link !== undefined && isPodLinkGroup(link.group)) ||
      link?.name === network.device;
    if (ours || dst === "default" || type !== UNICAST || table !== MAIN) return [];
    return cidrs.some((cidr) => cidrsOverlap(cidr, dst)) && !covers(dst, cidrs) ? [{ route, link }] : [];
  });
}

/** A wider route than any pod CIDR loses against ours and takes nothing. */
const covers = (dst: string, cidrs: readonly string[]): boolean =>
  cidrs.every((cidr) => Number(dst.split("/")[1]) < Number(cidr.split("/")[1]));

function routes(facts: Facts): Finding {
  const found = foreignRoutes(facts);
  if (found.length === 0) return ok("others.routes", "no route of others inside the pods' networks");
  const text = found.map(({ route, link }) => `${route.dst} dev ${link?.name ?? "?"}`);
  const own = networkOf(facts)?.podCidrs ?? [];
  const harmful = found.some(({ route }) => !own.some((cidr) => cidrsOverlap(cidr, route.dst)));
  const cure = `Remove them with the device that they came with, or one by one: ip route delete ${text[0]}.`;
  return harmful
    ? fail(
        "others.routes",
        some(text),
        "These routes take packets to pods of other nodes away from where Skylane would send them.",
        cure,
      )
    : warn(
        "others.routes",
        some(text),
        "Routes of another plugin for this node's own pods: its pods still use them; Skylane's have routes of their own, which win.",
        cure,
      );
}

/** Cilium's tables of its proxy; a rule without a selector, or for pods' addresses, that is asked before the main table. */
function diverts(
  { priority, table, src, dst, fwmark, iifname, oifname, suppressPrefixLength, ipProto, sport, dport, invert }: Rule,
  cidrs: readonly string[],
): boolean {
  if (table === 2004 || table === 2005) return true;
  if (priority === 0 || priority >= 32_766 || table === 0 || (table >= 253 && table <= 255)) return false;
  if (
    fwmark !== undefined ||
    iifname !== undefined ||
    oifname !== undefined ||
    suppressPrefixLength !== undefined ||
    // our own, for the tunnel's packets, among them
    ipProto !== undefined ||
    sport !== undefined ||
    dport !== undefined ||
    invert
  )
    return false;
  const selectors = [src, dst].filter((one) => one !== undefined);
  return selectors.every((one) => cidrs.some((cidr) => cidrsOverlap(cidr, one)));
}

function rules(facts: Facts): Finding {
  const network = networkOf(facts);
  const cidrs = network ? [...network.podCidrs, ...network.peers.flatMap(({ podCidrs }) => podCidrs)] : [];
  const found = facts.rules.filter((rule) => diverts(rule, cidrs));
  if (found.length === 0) return ok("others.rules", "no policy rule that would take pods' packets elsewhere");
  const text = found.map(
    ({ priority, src, dst, table }) =>
      `${priority}:${src ? ` from ${src}` : ""}${dst ? ` to ${dst}` : ""} lookup ${table}`,
  );
  return warn(
    "others.rules",
    some(text),
    "These rules are asked before the main table, in which Skylane's routes are: packets of pods may leave by another way.",
    "Remove what a former plugin left (ip rule delete priority N), or let the rule leave the pods' networks out.",
  );
}

function chains({ chains: looked }: Facts): Finding[] {
  if ("error" in looked) return [skip("others.chains", looked.error)];
  const all = looked.value;
  const found = named([...new Set(all.map(({ name }) => name))], "chain");
  const findings = [
    found.size === 0
      ? ok("others.chains", "no packet filter chain of another CNI plugin")
      : warn(
          "others.chains",
          listed(found),
          "Rules of another CNI plugin are still asked: they may drop or masquerade pods' packets.",
          "When that plugin is gone: restart the machine, or remove the jumps to its chains and then the chains (iptables -D, -F, -X; nft delete).",
        ),
  ];
  if (all.some(({ table }) => table === "inet firewalld"))
    findings.push(
      warn(
        "others.firewalld",
        "firewalld runs",
        "Unless it is told otherwise it rejects what is forwarded for pods and the VXLAN port.",
        "firewall-cmd --permanent --zone=trusted --add-source=POD-CIDR, the same for the other nodes' addresses, --add-port=4789/udp, then firewall-cmd --reload.",
      ),
    );
  const drop = all.filter(
    ({ table, hook, policy }) => hook === "forward" && policy === "drop" && !/ (filter|firewalld)$/.test(table),
  );
  if (drop.length > 0)
    findings.push(
      warn(
        "others.forward",
        `${some(drop.map(({ table, name }) => `chain ${name} of table ${table}`))} drops what no rule of it accepts`,
        "A packet must be accepted by every table: unless that one has rules for pods, their packets are dropped.",
        'Accept iifname "sky*" and oifname "sky*" there.',
      ),
    );
  return findings;
}

function forwardPolicy({ forward, agent }: Facts): Finding {
  const name = "forward.policy";
  if ("error" in forward) return skip(name, forward.error);
  const dropping = forward.value.filter(({ policyDrop }) => policyDrop);
  const text = dropping.map(({ backend, family }) => `iptables (${backend}, IPv${family})`);
  if (dropping.length === 0) return ok(name, "FORWARD accepts");
  if (dropping.every(({ accepts }) => accepts))
    return ok(name, `FORWARD drops in ${some(text)}, and accepts Skylane's traffic by the chain SKYLANE-FORWARD`);
  const found = `FORWARD drops in ${some(text)}`;
  if ("error" in agent)
    return warn(
      name,
      found,
      "Pods' packets would be dropped (Docker sets this policy).",
      "The agent adds a chain SKYLANE-FORWARD that accepts them, when it runs.",
    );
  return fail(
    name,
    `${found}, without Skylane's exception`,
    "Packets of pods to other nodes are dropped (Docker sets this policy).",
    "The agent adds the chain SKYLANE-FORWARD by itself; its log says why it cannot.",
  );
}

const UNMANAGED: Record<string, string> = {
  NetworkManager:
    "In /etc/NetworkManager/conf.d/skylane.conf: [keyfile] and under it unmanaged-devices=interface-name:sky*; then systemctl reload NetworkManager.",
  "systemd-networkd":
    "In /etc/systemd/network/05-skylane.network: [Match] Name=sky* and [Link] Unmanaged=yes; then networkctl reload.",
};

function managers({ managers: looked }: Facts): Finding {
  const name = "managers";
  const { managed, networkManager, networkd, visible } = looked;
  const running = [...(networkManager ? ["NetworkManager"] : []), ...(networkd ? ["systemd-networkd"] : [])];
  if (managed.length > 0) {
    const who = [...new Set(managed.map(({ manager }) => manager))];
    return warn(
      name,
      some(managed.map(({ manager, device, detail }) => `${manager} manages ${device} (${detail})`)),
      "It may take addresses and routes off these devices; the agent puts them back each time, which counts as repairs.",
      who.map((one) => UNMANAGED[one]).join(" "),
    );
  }
  if (running.length > 0) return ok(name, `${running.join(" and ")} runs and leaves our devices alone`);
  return visible
    ? ok(name, "neither NetworkManager nor systemd-networkd runs")
    : skip(
        name,
        "the host's /run cannot be seen from a container; on the host: /opt/cni/bin/.skylane/current/skylanectl doctor",
      );
}

/** All about others on the node. */
export const judgeOthers = (facts: Facts): Finding[] => [
  devices(facts),
  routes(facts),
  rules(facts),
  ...chains(facts),
  forwardPolicy(facts),
  managers(facts),
];
