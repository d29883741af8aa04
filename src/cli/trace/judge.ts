/** Whether what was found of a step is what it should be, in words, with what follows and what to do. Pure. */
import { socketAddress } from "../../addr/index.ts";
import { isPodLinkGroup, OVERLAY_LINK_GROUP } from "../../netlink/index.ts";
import type { Step } from "./plan/step.ts";
import type { Found, FoundOf } from "./read/found.ts";
import type { Hop } from "./types.ts";

/** NUD_* (linux/neighbour.h). */
const NUD = { INCOMPLETE: 0x01, FAILED: 0x20 } as const;

/** What a judgement says beside what the step says by itself. */
type Verdict = Pick<Hop, "is" | "state" | "means" | "cure" | "symptom">;

const right = (is: string): Verdict => ({ is, state: "ok" });
const unknown = (is: string): Verdict => ({ is, state: "unknown" });
const wrong = (is: string, means: string, cure: string): Verdict => ({ is, state: "wrong", means, cure });

/** What puts back what the agent keeps. */
const REPAIRED =
  "The agent of this node puts it back in under a second, unless it does not run, hangs, or the kernel refuses it: see skylanectl status here and its log, and restart its pod.";
/** What is made with a pod, and with nothing else. */
const MADE_WITH_POD = "It is made with the pod: delete the pod, so that it comes anew (kubectl delete pod).";
const LOST = "Packets end here.";
const ASTRAY = "Packets go elsewhere.";

type Of<K extends Step["kind"]> = Extract<Step, { kind: K }>;
type Judges = { [K in Step["kind"]]: (step: Of<K>, found: FoundOf[K]) => Verdict };

/** Who looks after an object: the pod's own are made once, those of a node are kept. */
const cureFor = ({ where }: { where: string }): string => (where.startsWith("pod ") ? MADE_WITH_POD : REPAIRED);

const JUDGES: Judges = {
  link(step, { link }) {
    const { name, mac, vxlan, master, where } = step;
    if (!link) return wrong(`${where} has no device ${name}`, LOST, cureFor(step));
    if (!link.up) return wrong(`${name} is down`, LOST, cureFor(step));
    const faults: string[] = [];
    if (mac !== undefined && link.mac !== mac) faults.push(`MAC ${link.mac ?? "none"} instead of ${mac}`);
    if (master !== undefined && link.master !== master)
      faults.push(
        `${link.master === undefined ? "no port of a bridge" : `a port of ${link.master}`} instead of ${master}`,
      );
    if (vxlan) {
      const { vni, port, local } = vxlan;
      if (!link.vxlan) faults.push("no VXLAN device");
      else {
        if (link.vxlan.vni !== vni) faults.push(`VNI ${link.vxlan.vni} instead of ${vni}`);
        if (port !== undefined && link.vxlan.port !== port)
          faults.push(`UDP port ${link.vxlan.port} instead of ${port}`);
        if (local !== undefined && link.vxlan.local !== local)
          faults.push(`local address ${link.vxlan.local ?? "none"} instead of ${local}`);
      }
    }
    if (faults.length > 0) return wrong(`${name} has ${faults.join(", ")}`, LOST, cureFor(step));
    if (!link.lowerUp) return wrong(`${name} has no carrier: its other end is down or gone`, LOST, cureFor(step));
    return right(`${name} is up`);
  },

  address(step, { ips }) {
    const { device, ip } = step;
    if (ips.includes(ip)) return right(`${device} has ${ip}`);
    return wrong(`${device} has ${ips.length === 0 ? "no address" : ips.join(", ")}`, LOST, cureFor(step));
  },

  route(step, found) {
    if ("refused" in found) return wrong(`no route to ${step.to}: ${found.refused}`, LOST, cureFor(step));
    const { route, device = `device ${route.ifindex ?? "?"}` } = found;
    const is = `${step.to} ${route.gateway === undefined ? "" : `via ${route.gateway} `}dev ${device}`;
    const there = typeof step.device === "string" ? step.device === device : step.device.index === route.ifindex;
    if (there && step.gateway === route.gateway) return right(is);
    return wrong(
      is,
      ASTRAY,
      `${cureFor(step)} A more specific route or a rule of somebody else's is not ours to remove: ip route get ${step.to}, ip rule.`,
    );
  },

  neighbour(step, { entry }) {
    const { ip, mac, device, mayBeAbsent } = step;
    const failed = ((entry?.state ?? 0) & NUD.FAILED) !== 0;
    if (entry?.mac === undefined || failed) {
      if (failed) return wrong(`nobody answers for ${ip} on ${device}`, LOST, cureFor(step));
      if (mayBeAbsent) return right(`${ip} is not in the table of ${device}: it is asked for when needed`);
      return wrong(`no entry for ${ip} on ${device}`, LOST, cureFor(step));
    }
    if (mac !== undefined && entry.mac !== mac)
      return wrong(
        `${ip} lladdr ${entry.mac} dev ${device}`,
        "Frames carry a MAC that the receiver is not: it drops them.",
        cureFor(step),
      );
    return right(`${ip} lladdr ${entry.mac} dev ${device}`);
  },

  fdb(step, { entry }) {
    const { mac, device, dst, vni, port } = step;
    if (!entry)
      return wrong(
        `no entry for ${mac} on ${device}`,
        "The kernel drops the frame: it has no default destination.",
        REPAIRED,
      );
    const is = `${mac} dev ${device} dst ${entry.dst}${entry.vni === undefined ? "" : ` vni ${entry.vni}`}${entry.port === undefined ? "" : ` port ${entry.port}`}`;
    const same =
      dst.includes(entry.dst) &&
      (vni === undefined || entry.vni === vni) &&
      (port === undefined || entry.port === port);
    return same
      ? right(is)
      : wrong(is, "The tunnel leads to another address than the node's: frames are lost there.", REPAIRED);
  },

  bridgeFdb(step, { device }) {
    const { mac, bridge } = step;
    if (device === undefined) return wrong(`${bridge} has no entry for ${mac}`, LOST, REPAIRED);
    if (device !== step.device) return wrong(`${mac} is behind ${device} on ${bridge}`, ASTRAY, REPAIRED);
    return right(`${mac} is behind ${device} on ${bridge}`);
  },

  forwarding({ family }, { on, dropping }) {
    if (!on)
      return wrong(
        `forwarding of IPv${family} is off`,
        "The kernel drops what is not for the node itself.",
        `${REPAIRED} Look also for what switches it off: sysctl.d, NetworkManager, a hardening script.`,
      );
    if (dropping.length > 0)
      return wrong(
        `${dropping.join(", ")} drops what nothing accepts`,
        "The packet filter of the node drops what it forwards.",
        REPAIRED,
      );
    return right("it does");
  },

  policy(_step, { verdict, message }) {
    if (!verdict) return right(message ?? "no policy says anything");
    const { allowed, why, rules } = verdict;
    if (!allowed)
      return wrong(
        `denied: ${why}`,
        "Network policies drop the packet.",
        "If it is to pass, change the policy, or the labels by which it selects; skylanectl policy explain says all that a pod has.",
      );
    if (rules === "something else")
      return wrong(
        `allowed: ${why}; but the rules in the kernel deny it`,
        "The rules are not what the policies say: a fault of Skylane's.",
        "Restart the agent of this node, and report it with skylanectl policy explain.",
      );
    if (rules === "not in force")
      return wrong(
        `allowed: ${why}; but the rules are not in force`,
        "Pods whose policies are not in force are cut off, or open, as the former rules say.",
        "See why: skylanectl policy list on this node.",
      );
    return right(`allowed: ${why}`);
  },

  underlay({ to, where }, found) {
    if ("refused" in found)
      return wrong(
        `no route to ${to}: ${found.refused}`,
        `${where} cannot send to the other node at all.`,
        `Put the route of the underlay right on ${where}: ip route get ${to}.`,
      );
    const { route, device, neighbour, answers } = found;
    const name = device?.name ?? "?";
    const hop = route.gateway ?? to;
    const is = `${to} ${route.gateway === undefined ? "" : `via ${route.gateway} `}dev ${name}`;
    if (device?.loopback)
      return wrong(
        `${to} is an address of ${where} itself`,
        "Packets in the tunnel do not leave the node.",
        `Two nodes have one address, or one was moved: ip address on both. skylane.dev/underlay-ip sets a node's own.`,
      );
    if (device && (device.group === OVERLAY_LINK_GROUP || isPodLinkGroup(device.group)))
      return wrong(
        is,
        "Packets in the tunnel are led into the tunnel or to a pod.",
        `A route over a device of Skylane's covers the node's address: ip route get ${to}. Pod CIDRs and nodes' addresses must be apart.`,
      );
    if (device && !(device.up && device.lowerUp))
      return wrong(
        `${is}, which is ${device.up ? "without carrier" : "down"}`,
        LOST,
        `Bring ${name} up; look at its cable or bond.`,
      );
    const state = neighbour?.state ?? 0;
    if (answers === "no" && neighbour?.mac === undefined && (state & (NUD.FAILED | NUD.INCOMPLETE)) !== 0)
      return wrong(
        `${is}; nobody answers for ${hop} on ${name}`,
        route.gateway === undefined
          ? "The other node is off, cut off, or not on this segment."
          : "The gateway is off, or not on this segment.",
        `Look at the machine and at the network between: ping ${hop}. A node that is gone for good: kubectl delete node.`,
      );
    if (answers === "no") return unknown(`${is}; it answers neither ping nor TCP port 10250 there`);
    return right(`${is}, which answers`);
  },

  tunnel({ node, underlayIp, routes }, { answered, error, full }) {
    if (answered && full?.passes === false) {
      const is = `it does, but packets of ${full.bytes} bytes are lost`;
      if (routes !== undefined) return right(`${is}; pods are told to send ${routes} at most`);
      return wrong(
        is,
        "The underlay carries less than the MTU says: small packets pass and large ones hang, so connections open and then stall.",
        `Raise the MTU of the underlay between the nodes, or set a smaller mtu on all: skylanectl doctor on this node says how much passes. With probes: on, routes take that until then.`,
      );
    }
    if (answered) return right("it does");
    if (error !== undefined)
      return {
        ...wrong(`this node's kernel does not send: ${error}`, LOST, "skylanectl doctor on this node says why."),
        symptom: true,
      };
    return {
      ...wrong(
        `${node} does not answer in the tunnel`,
        "The tunnel's UDP packets, or the answers, are lost between the nodes.",
        `Open the UDP port of VXLAN in both directions (security groups, firewalls; ${underlayIp}), then trace the way back, and run skylanectl doctor on both nodes.`,
      ),
      symptom: true,
    };
  },

  peerSet({ node, ip }, { known }) {
    if (known) return right(`it has ${ip}`);
    return wrong(`it does not have ${ip}`, `VXLAN packets from ${node} are dropped.`, REPAIRED);
  },

  conntrack(_step, { connections, translated }) {
    if (translated !== undefined)
      return wrong(
        translated,
        "Something on this node gives pods' packets another source: the other pod and its policies do not see who sends.",
        "Look for masquerading that does not leave out the cluster's pods: nft list ruleset, iptables -t nat -S; set clusterCIDRs, and no masquerading by others (ip-masq-agent, kube-proxy's --masquerade-all). A connection that is over is remembered for a while: ICMP 30 seconds.",
      );
    if (connections.length === 0) return right("none is followed between the two");
    const more = connections.length > 3 ? ` and ${connections.length - 3} more` : "";
    return right(`${connections.slice(0, 3).join(", ")}${more}`);
  },

  service({ where, service }, { targets }) {
    const name = socketAddress(service);
    if (targets.some(({ ip }) => ip === service.ip))
      return wrong(
        `what is for ${name} keeps that destination`,
        `Nobody on ${where} translates the Service's address: packets to it go where no pod is.`,
        "See that kube-proxy, or what stands in for it, runs on this node and has heard of the Service: its log, nft list table ip kube-proxy, iptables-save. A connection that began before that is remembered for a while.",
      );
    if (targets.length === 0) return right("no connection to it is followed; connect, and trace again");
    const counts = new Map<string, number>();
    for (const one of targets) counts.set(socketAddress(one), (counts.get(socketAddress(one)) ?? 0) + 1);
    const words = [...counts].slice(0, 3).map(([target, count]) => `${count} to ${target}`);
    return right(`connections go on: ${words.join(", ")}${counts.size > 3 ? ` and ${counts.size - 3} more` : ""}`);
  },

  known({ is, wrong: fault }) {
    return fault ? wrong(is, fault.means, fault.cure) : right(is);
  },
};

/** A step, and what was found of it. */
export interface LookedAt {
  step: Step;
  found: Found;
}

/** The hops of a half, in its order. @param node on which it was looked at */
export function judge(node: string, looked: readonly LookedAt[]): Hop[] {
  const hops = looked.map((one) => judgeStep(node, one));
  if (!hops.some(({ hop, state }) => hop === "tunnel" && state === "wrong")) return hops;
  return hops.map((hop, n) => ({ ...hop, ...silence(looked[n] as LookedAt, hop) }));
}

/** Where the tunnel does not answer either, silence beside it is a fault: not of the tunnel, but of the node or of what is between. */
function silence({ step, found }: LookedAt, { is, state }: Hop): Partial<Verdict> {
  if (step.kind !== "underlay" || state !== "unknown" || !("answers" in found)) return {};
  return {
    ...wrong(
      `${is}, nor in the tunnel`,
      "The other node is off or cut off, or the network between the two loses everything.",
      `Look at the machine, and at switches and routers between: ping ${step.to}. Where hosts answer no ping by rule, it may be the UDP port of VXLAN alone. A node that is gone for good: kubectl delete node.`,
    ),
    symptom: true,
  };
}

function judgeStep(node: string, { step, found }: LookedAt): Hop {
  const { hop, should } = step;
  const verdict: Verdict =
    "unseen" in found
      ? unknown(found.unseen)
      : (JUDGES[step.kind] as (step: Step, found: object) => Verdict)(step, found);
  return { node, hop, should, ...verdict };
}
