/**
 * What the doctor gathers before it judges: plain data, so that every judgement can be tested without a machine that has
 * the trouble. Judging (judge-*.ts) is pure; gathering (gather-*.ts) changes nothing on the node.
 */
import type { AgentStatus } from "../../observe/index.ts";
import type { SysctlWrite } from "../../host/index.ts";
import type { Address, Link, Route, Rule } from "../../netlink/index.ts";
import type { ForwardChain, SurveyedChain } from "../../dataplane/nft/index.ts";

/** Something looked at, or why it could not be. */
export type Looked<T> = { value: T } | { error: string };

/** What a trial in a throw-away namespace came to. */
export type Trial = { works: true } | { works: false; error: string };

/** The kernel, as tried. */
export interface KernelFacts {
  vxlan: Trial;
  veth: Trial;
  /** The whole table of Skylane's rules, as this kernel's features allow it. */
  nftables: Trial;
  fib: boolean;
  fullyRandom: boolean;
}

/** The settings that checks need, from the agent's configuration. */
export interface Settings {
  vni: "auto" | number;
  port: number;
  /** "" when nothing is served over TCP. */
  listen: string;
  confDir: string;
  confName: string;
  binDir: string;
}

/** Network parameters; undefined where this kernel or this namespace has none. */
export interface SysctlFacts {
  ipForward?: string | undefined;
  ipv6Forwarding?: string | undefined;
  /** What the agent would set to have the node forward; empty when all is set. */
  pending: readonly SysctlWrite[];
  /** The stricter of `all` and the device, by device. */
  rpFilter: Readonly<Record<string, string>>;
  bridgeNf?: string | undefined;
  conntrackMax?: string | undefined;
  conntrackCount?: string | undefined;
  /** By family. */
  gcThresh3: Readonly<Record<4 | 6, string | undefined>>;
}

/** A UDP socket on the VXLAN port that is not the kernel's VXLAN, as far as can be told. */
export interface UdpHolder {
  family: 4 | 6;
  /** "name (pid N)"; undefined where processes cannot be seen, as from a pod. */
  process?: string | undefined;
}

/** A VXLAN device on our UDP port that was made in this namespace and is in another one. */
export interface VxlanElsewhere {
  name: string;
  vni: number;
  /** A path of that namespace. */
  netns: string;
  alias?: string;
}

/** What answers on the agent's TCP address. */
export type ListenAnswer = "agent" | "other" | "nobody";

/** Whether a packet of a size comes through. */
export interface SizeProbe {
  /** Bytes of the packet that should pass. */
  wanted: number;
  /** undefined: not even a small one is answered, so nothing can be said. */
  passes?: boolean;
  /** The largest that passed, when the wanted one did not. */
  largest?: number;
}

/** What became of the probes to one peer. */
export interface PeerProbe {
  node: string;
  underlayIp: string;
  /** Its VTEP address. */
  vtep: string;
  /** Answered through the tunnel. */
  tunnel: boolean;
  /** What this node's kernel said at once. */
  tunnelError?: string;
  /** How the node answered beside the tunnel, if it did. */
  beside: "echo" | "tcp" | "no";
  /** In the tunnel, at the overlay's MTU. */
  inside: SizeProbe;
  /** Beside it, at the size of the packets that carry the former. */
  outside: SizeProbe;
  /** The device by which the kernel sends to the node; undefined when it has no route. */
  device?: string | undefined;
  /** No router between: the node takes a place in our table of neighbours. */
  onLink: boolean;
}

/** A packet from an address of this host to a pod that policy routing sends elsewhere. */
export interface Astray {
  from: string;
  to: string;
  /** The device by which it would leave; undefined where there is no route at all. */
  device: string | undefined;
  /** The routing table that says so, where the kernel tells. */
  table: number | undefined;
}

/** A host port of a running pod whose rules are not in the packet filter. */
export interface LostHostPort {
  /** "80/tcp". */
  port: string;
  containerId: string;
}

/** A bandwidth limit that is not in force. */
export interface LostLimit {
  /** NAMESPACE/NAME, or the container. */
  pod: string;
  /** In words. */
  why: string;
}

/** A network manager on this host. */
export interface ManagerFacts {
  networkManager: boolean;
  networkd: boolean;
  /** Devices of ours that one of them manages, with its words. */
  managed: readonly { manager: "NetworkManager" | "systemd-networkd"; device: string; detail: string }[];
  /** The folders of either can be seen from here. */
  visible: boolean;
}

/** All of it. */
export interface Facts {
  /** Something of Skylane is or was on this node. */
  installed: boolean;
  settings: Settings;
  agent: Looked<AgentStatus>;
  release: string;
  kernel: Looked<KernelFacts>;
  links: readonly Link[];
  addresses: readonly Address[];
  /** Of the main table. */
  routes: readonly Route[];
  rules: readonly Rule[];
  astray: readonly Astray[];
  /** An error where runtimes' records, or the packet filter, cannot be read. */
  /** Of those that the plugin portmap has mapped. */
  lostHostPorts: Looked<{ all: number; lost: readonly LostHostPort[] }>;
  /** Of our own. */
  ownHostPorts: Looked<{ all: number; lost: readonly LostHostPort[] }>;
  /** An error where the records, or the kernel, cannot be read. */
  limits: Looked<{ all: number; lost: readonly LostLimit[] }>;
  sysctls: SysctlFacts;
  /** Neighbour entries that count against the limits, by family. */
  neighbours: Readonly<Record<4 | 6, number>>;
  /** Names of the CNI configurations in their directory, as the runtime orders them. */
  confFiles: Looked<readonly string[]>;
  executable: boolean;
  chains: Looked<readonly SurveyedChain[]>;
  forward: Looked<readonly ForwardChain[]>;
  udpHolders: readonly UdpHolder[];
  vxlanElsewhere: readonly VxlanElsewhere[];
  listen: ListenAnswer | undefined;
  managers: ManagerFacts;
  peers: readonly PeerProbe[];
}

/** The network of the agent's status that the checks are about; Skylane has one a node so far. */
export const networkOf = ({ agent }: Pick<Facts, "agent">) => ("value" in agent ? agent.value.networks[0] : undefined);
