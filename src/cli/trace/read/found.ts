/** What was found of a step: plain data, so that every judgement can be tested without a kernel that has the trouble. */
import type { FdbEntry, Link, Neighbour, Route } from "../../../netlink/index.ts";
import type { Step } from "../plan/step.ts";
import type { SocketAddress } from "../../../addr/index.ts";

/** It could not be looked at from here, which says nothing about it. */
export interface Unseen {
  unseen: string;
}

/** What of a device matters. */
export type FoundLink = Pick<Link, "up" | "lowerUp" | "mac" | "vxlan"> & { master?: string };

/** The kernel's answer about a route: the way, or why there is none. */
export type FoundRoute = { route: Pick<Route, "gateway" | "ifindex">; device?: string } | { refused: string };

/** By kind of step. */
export interface FoundOf {
  link: { link?: FoundLink };
  /** Addresses of the device; none where there is no such device. */
  address: { ips: readonly string[] };
  route: FoundRoute;
  neighbour: { entry?: Pick<Neighbour, "mac" | "state"> };
  fdb: { entry?: Pick<FdbEntry, "dst" | "vni" | "port"> };
  /** The device that the MAC is behind. */
  bridgeFdb: { device?: string };
  forwarding: {
    on: boolean;
    /** Packet filters that drop what nothing accepts, in words, and in which nothing of ours accepts. */
    dropping: readonly string[];
  };
  policy: {
    /** Absent where no policy says anything. */
    verdict?: {
      allowed: boolean;
      why: string;
      rules: "the same" | "something else" | "not in force" | "on another node";
    };
    /** Why nothing is said. */
    message?: string;
  };
  underlay:
    | { refused: string }
    | {
        route: Pick<Route, "gateway" | "ifindex">;
        device?: Pick<Link, "name" | "up" | "lowerUp" | "loopback" | "group">;
        /** Of the next hop, where there is an entry. */
        neighbour?: Pick<Neighbour, "mac" | "state">;
        /** How the node answers there. */
        answers: "echo" | "tcp" | "no";
      };
  tunnel: {
    answered: boolean;
    /** What this node's kernel said at once. */
    error?: string;
    /** Of a packet of the device's MTU, where small ones are answered by ICMP: its bytes, and whether it passes. */
    full?: { bytes: number; passes: boolean };
  };
  /** Whether the set has the address. */
  peerSet: { known: boolean };
  conntrack: {
    /** Connections between the two, in words. */
    connections: readonly string[];
    /** One whose answers go to somebody else than its sender. */
    translated?: string;
  };
  service: {
    /** Where each connection to it goes: the Service's own address where nobody has translated it. */
    targets: readonly SocketAddress[];
  };
  known: Record<string, never>;
}

export type Found<K extends Step["kind"] = Step["kind"]> = FoundOf[K] | Unseen;
