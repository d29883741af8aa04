/** What egress gateways come to on one node, as plain data: which pods leave how, and which addresses it has. */
import type { Family } from "../../addr/index.ts";
import { EGRESS_MARK, type EgressAnswer } from "../nft/index.ts";

/** Another node, as the way out. */
export interface GatewayNode {
  /** Name of its Node. */
  node: string;
  /** Underlay address at which it receives VXLAN. */
  underlayIp: string;
  /** Its VTEP addresses, by family. */
  vteps: Readonly<Partial<Record<Family, string>>>;
}

/** Pods of this node that leave behind one address. */
export interface EgressWay {
  /** Name of the gateway, for people. */
  gateway: string;
  family: Family;
  /** Absent where the gateway has none that can be: then nobody has it. */
  address?: string;
  /** Addresses of the pods. */
  pods: readonly string[];
  /** Destinations that are reached so; absent: all outside of the cluster. */
  to?: readonly string[];
  /** Who has the address: this node, another one, or nobody, so that the packets are dropped. */
  by: "here" | GatewayNode | undefined;
}

/** What should be. */
export interface EgressWanted {
  ways: readonly EgressWay[];
  /** Pods of any node that leave by this one: their address, and the egress address. */
  through: ReadonlyMap<string, string>;
  /** Egress addresses that this node has. */
  addresses: readonly string[];
  /** Prefixes of pods, nodes and Services: what is not outside. Canonical; they may overlap. */
  inside: readonly string[];
  /** The overlay's device. */
  device: string;
  /** Index of the device that has egress addresses; undefined while nobody knows. */
  uplink: number | undefined;
}

/** Nothing of anything. */
export const NO_EGRESS: EgressWanted = {
  ways: [],
  through: new Map(),
  addresses: [],
  inside: [],
  device: "",
  uplink: undefined,
};

/** Whether anything has to be there at all. */
export const isNothing = ({ ways, through, addresses }: EgressWanted): boolean =>
  ways.length === 0 && through.size === 0 && addresses.length === 0;

/** Numbers of gateways' nodes, each the same for as long as it is one: marks and tables are made of them. */
export class GatewayNumbers {
  readonly #numbers = new Map<string, number>();

  /**
   * Gives each of these nodes a number from 1 on, and forgets all others.
   * @returns by node; those beyond what a mark can tell apart have none
   */
  of(nodes: Iterable<string>): ReadonlyMap<string, number> {
    const wanted = new Set(nodes);
    for (const node of this.#numbers.keys()) if (!wanted.has(node)) this.#numbers.delete(node);
    const used = new Set(this.#numbers.values());
    let next = 1;
    for (const node of [...wanted].sort()) {
      if (this.#numbers.has(node)) continue;
      while (used.has(next)) next++;
      if (next > EGRESS_MARK.most) break;
      used.add(next);
      this.#numbers.set(node, next);
    }
    return new Map(this.#numbers);
  }
}

/** Gateways' nodes that are the way of pods here. */
export const gatewayNodes = ({ ways }: EgressWanted): Map<string, GatewayNode> =>
  new Map(ways.flatMap(({ by, pods }) => (by && by !== "here" && pods.length > 0 ? [[by.node, by] as const] : [])));

/** What is let in through the tunnel for pods here. */
export const answersFor = ({ ways }: EgressWanted): EgressAnswer[] =>
  ways.flatMap(({ by, pods }) => (by && by !== "here" ? pods.map((pod) => ({ pod, gateway: by.underlayIp })) : []));

/** Gateways' nodes with numbers, by family in which pods leave by them. */
export interface NumberedGateway {
  number: number;
  family: Family;
  vtep: string;
}

/** The tables of routes that are needed. */
export function numberedGateways(wanted: EgressWanted, numbers: ReadonlyMap<string, number>): NumberedGateway[] {
  const found = new Map<string, NumberedGateway>();
  for (const { by, family, pods } of wanted.ways) {
    if (!by || by === "here" || pods.length === 0) continue;
    const [number, vtep] = [numbers.get(by.node), by.vteps[family]];
    if (number !== undefined && vtep !== undefined) found.set(`${number} ${family}`, { number, family, vtep });
  }
  return [...found.values()];
}
