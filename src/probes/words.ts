/** Verdicts in words: what was found, what follows from it, and what to do. */
import type { Fault, Verdict } from "./judge.ts";

/** What the words need to know of this node. */
export interface Here {
  /** Its name. */
  node: string;
  /** UDP port of VXLAN. */
  port: number;
  /** MTU of pods, and what the tunnel adds to it, in bytes. */
  mtu: number;
  overhead: number;
  /** The largest packets that pass in the tunnel where those of the MTU do not, in bytes, where that is known. */
  passes?: number | undefined;
}

/** A verdict for people. */
export interface Worded {
  /** In one line. */
  found: string;
  meaning: string;
  cure: string;
}

/** Reasons of Events. */
export const REASONS: Readonly<Record<Fault, string>> = {
  down: "SkylanePeerUnreachable",
  silent: "SkylanePeerUnreachable",
  tunnel: "SkylaneTunnelBlocked",
  family4: "SkylaneTunnelBlocked",
  family6: "SkylaneTunnelBlocked",
  narrow: "SkylaneMtuTooLarge",
  fragments: "SkylaneMtuTooLarge",
  loss: "SkylanePacketsLost",
};

const MOST = 5;

function list(names: readonly string[], self: string): string {
  const shown = names.slice(0, MOST).map((name) => (name === self ? `${name} (this node)` : name));
  const more = names.length - shown.length;
  return more > 0 ? `${shown.join(", ")} and ${more} more` : shown.join(", ");
}

/** Who it is about, as the subject of a sentence's "between …" or "…". */
function between({ scope, nodes, others }: Verdict, self: string): string {
  if (scope === "all") return `between all ${others.length} nodes that were asked`;
  if (scope === "node")
    return `between ${list(nodes, self)} and all ${others.length} that have asked it or were asked by it`;
  return `between ${list(nodes, self)} and ${list(others, self)}`;
}

function lost(verdict: Verdict, self: string): string {
  const { nodes, others, scope } = verdict;
  const [one, other] = [list(nodes, self), scope === "node" ? "the others" : list(others, self)];
  if (verdict.lost === "to")
    return `: what ${other} ${scope === "node" ? "send" : sends(others)} to ${one} is lost, the other direction is open`;
  if (verdict.lost === "from") return `: what ${one} ${sends(nodes)} to ${other} is lost, the other direction is open`;
  return verdict.lost === "both" ? ", in both directions" : "";
}

const sends = (nodes: readonly string[]): string => (nodes.length > 1 ? "send" : "sends");

const ENTRIES =
  "Then run skylanectl doctor on the node that sends what is lost: its entries for the other one may be wrong.";

/** Puts a verdict into words. */
export function inWords(verdict: Verdict, here: Here): Worded {
  const { node: self, port, mtu, overhead, passes } = here;
  const { fault, scope, nodes, others } = verdict;
  const where = between(verdict, self);
  const who = list(nodes, self);
  switch (fault) {
    case "down":
    case "silent": {
      const beside =
        fault === "down"
          ? "neither through the tunnel nor beside it"
          : "through the tunnel, and hosts of the underlay answer no echo, so that nothing can be said of the machine";
      const meaning = "Pods there are not reached.";
      if (scope === "node" && nodes[0] === self)
        return {
          found: `${who} reaches none of the ${others.length} peers that were asked, ${beside}`,
          meaning: "Pods of this node reach no pod elsewhere, and none elsewhere reaches them.",
          cure: "This node is cut off: look at its underlay interface and the switch port behind it.",
        };
      if (scope === "node")
        return {
          found: `${who} answers none of the ${others.length} nodes that have asked it, ${beside}`,
          meaning,
          cure: `The machine is off, or cut off: look at it and at its network. Where it is gone for good: kubectl delete node ${nodes[0]}.`,
        };
      return {
        found: `nothing passes ${where}${fault === "silent" ? " through the tunnel" : ", neither through the tunnel nor beside it"}`,
        meaning: "Pods of the one side do not reach those of the other; what each side reaches otherwise answers.",
        cure: "It is the network between them: switches, routers, firewalls on the way. The nodes themselves answer others.",
      };
    }
    case "tunnel":
      return {
        found: `no VXLAN packet passes ${where}, though the machines answer${lost(verdict, self)}`,
        meaning: "Pods of the one do not reach those of the other, while the nodes reach each other.",
        cure:
          scope === "node"
            ? `Open UDP port ${port} at ${who} (its own firewall, its security group). ${ENTRIES}`
            : `Open UDP port ${port} in both directions on the way (firewalls, security groups). ${ENTRIES}`,
      };
    case "family4":
    case "family6":
      return {
        found: `no IPv${fault === "family4" ? 4 : 6} packet passes the tunnel ${where}, those of the other family do`,
        meaning: "Connections of pods in that family hang or fall back to the other one.",
        cure: `Underlay and UDP port are open, so an address, route or neighbour entry of the family is wrong at one end, or a packet filter drops it: skylanectl doctor on both.`,
      };
    case "narrow":
      return {
        found: `packets of ${mtu} bytes are lost in the tunnel ${where}${passes === undefined ? "" : `, ${passes} pass`}`,
        meaning:
          "An MTU black hole: small packets pass and large ones vanish, so that connections of pods open and then stall." +
          (passes === undefined ? "" : " Routes to pods there have an MTU that fits, by which pods send no more."),
        cure:
          passes === undefined
            ? `Let the underlay carry ${mtu + overhead} bytes there, or set a smaller mtu on all nodes.`
            : `Let the underlay carry ${mtu + overhead} bytes there, or set mtu: ${Math.floor(passes / 10) * 10} on all nodes.`,
      };
    case "fragments":
      return {
        found: `packets of ${mtu + overhead} bytes do not pass whole beside the tunnel ${where}; what carries pods' full packets goes in fragments`,
        meaning: "Every full packet of a pod becomes two on the way: slow, and firewalls may drop fragments.",
        cure: "Raise the MTU on the way, or set a smaller mtu on all nodes.",
      };
    // That leaves loss.
    default:
      return {
        found: `packets are lost in the tunnel ${where}`,
        meaning: "Connections of pods are slow, and some requests take seconds.",
        cure:
          scope === "node"
            ? `Look at ${who}'s network interface, its cable and its switch port (ethtool -S, ip -s link).`
            : "Look at the links between them (errors and drops of switches and interfaces).",
      };
  }
}
