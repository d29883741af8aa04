/** Lists of what there is. Of long ones the first rows are shown; the filter finds the rest. */
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import type { MapClaim, MapFlow, MapFlowEnd, MapNetwork, MapNode, MapPod } from "../wire.ts";
import { useGrowing } from "./growing.ts";
import { byName, type Mirror } from "./mirror.ts";
import type { Select, Selection } from "./selection.ts";
import { ago, clock, NODE_WORDS } from "./words.ts";

const MOST_ROWS = 200;

/** One column: its heading, and what of a thing is in it. */
export interface Column<T> {
  head: string;
  cell: (one: T) => ComponentChildren;
}

interface TableProps<T> {
  /** In order. */
  things: readonly T[];
  columns: readonly Column<T>[];
  keyOf: (one: T) => string;
  /** What is chosen by choosing the row. */
  choice?: (one: T) => Selection;
  /** Classes of the row. */
  look?: (one: T) => string;
  select: Select;
  none: string;
}

/** The first column of a row is the button that chooses it. */
function Table<T>({ things, columns, keyOf, choice, look, select, none }: TableProps<T>) {
  const shown = useGrowing(Math.min(things.length, MOST_ROWS));
  if (things.length === 0) return <p class="none">{none}</p>;
  const rest = things.length - MOST_ROWS;
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            {columns.map(({ head }) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {things.slice(0, shown).map((one) => (
            <tr key={keyOf(one)} class={look?.(one) ?? ""}>
              {columns.map(({ head, cell }, i) => (
                <td key={head} data-head={head}>
                  {i === 0 && choice ? (
                    <button type="button" class="link" onClick={() => select(choice(one))}>
                      {cell(one)}
                    </button>
                  ) : (
                    cell(one)
                  )}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {rest > 0 && <p class="none">{rest} more: the filter finds them.</p>}
    </div>
  );
}

export interface ListProps {
  mirror: Mirror;
  /** In lower case; "" for all. */
  filter: string;
  select: Select;
}

const matching = <T,>(all: Iterable<T>, filter: string, words: (one: T) => readonly (string | undefined)[]): T[] =>
  [...all].filter((one) => filter === "" || words(one).join(" ").toLowerCase().includes(filter));

/** Where it is, and where it was. */
export function Places({ of: { node, was, gone }, now }: { of: Pick<MapPod, "node" | "was" | "gone">; now: number }) {
  const here = node ?? "nowhere yet";
  const past = was.toReversed().map((stay) => `${stay.node} until ${ago(now - stay.until)} ago`);
  return (
    <>
      {gone === undefined ? here : `gone${node === undefined ? "" : ` from ${node}`} ${ago(now - gone)} ago`}
      {past.length > 0 && <span class="was"> (was on {past.join(", ")})</span>}
    </>
  );
}

const now = (mirror: Mirror): number => Date.now() + mirror.ahead;
const placeOf = ({ gone, was }: Pick<MapPod, "gone" | "was">): string =>
  `${gone === undefined ? "" : "gone"} ${was.length > 0 ? "moved" : ""}`;

export function Nodes({ mirror, filter, select }: ListProps) {
  const things = matching(mirror.order, filter, ({ name, ips, state }) => [name, ...ips, NODE_WORDS[state]]);
  const first = (node: MapNode) => node.vteps[0];
  return (
    <Table
      things={things}
      keyOf={({ name }) => name}
      choice={({ name }) => ({ kind: "node", name })}
      look={({ state }) => state}
      select={select}
      none="No nodes."
      columns={[
        { head: "Node", cell: ({ name }) => name },
        {
          head: "Agent",
          cell: ({ state, since, why }) =>
            state === "unknown" || state === "ready" ? (
              NODE_WORDS[state]
            ) : (
              <span title={why}>
                {NODE_WORDS[state]} for {ago(now(mirror) - since)}
              </span>
            ),
        },
        { head: "VTEP", cell: (node) => first(node)?.mac ?? "" },
        { head: "Underlay", cell: (node) => first(node)?.underlayIp ?? node.ips[0] ?? "" },
        { head: "Pod CIDRs", cell: (node) => first(node)?.podCidrs.join(" ") ?? "" },
        { head: "Peers", cell: (node) => (first(node) ? `${first(node)?.programmed}/${first(node)?.peers}` : "") },
        { head: "Networks", cell: ({ vteps }) => vteps.length },
        { head: "Repairs", cell: ({ vteps }) => vteps.reduce((sum, { repairs }) => sum + repairs, 0) },
        { head: "Refused", cell: ({ refused }) => refused.length },
      ]}
    />
  );
}

/** Networks of the API, and those of agents that have no object. */
export function networksOf(mirror: Mirror): MapNetwork[] {
  const all = new Map(mirror.networks);
  for (const { vteps } of mirror.order)
    for (const { network, vni, mtu } of vteps)
      if (!all.has(network)) all.set(network, { name: network, vni, mtu, mode: "", cidrs: [] });
  return [...all.values()].sort((a, b) => byName(a.name, b.name));
}

export function Networks({ mirror, filter, select }: ListProps) {
  const things = matching(networksOf(mirror), filter, ({ name, vni, cidrs }) => [name, String(vni), ...cidrs]);
  const on = (network: string): number =>
    mirror.order.filter(({ vteps }) => vteps.some((one) => one.network === network && one.ready)).length;
  return (
    <Table
      things={things}
      keyOf={({ name }) => name}
      choice={({ name }) => ({ kind: "network", name })}
      select={select}
      none="No networks."
      columns={[
        { head: "Network", cell: ({ name }) => name },
        { head: "VNI", cell: ({ vni }) => vni },
        { head: "Mode", cell: ({ mode }) => mode },
        { head: "CIDRs", cell: ({ cidrs }) => cidrs.join(" ") },
        { head: "Ready on", cell: ({ name }) => `${on(name)} nodes` },
        { head: "Is", cell: ({ deleting }) => (deleting ? "being deleted" : "there") },
      ]}
    />
  );
}

export function Pods({ mirror, filter, select }: ListProps) {
  const words = ({ key, node, ips, was }: MapPod) => [key, node, ...ips, ...was.map((stay) => stay.node)];
  // Sorting thousands by name is most of what a change would cost.
  const things = useMemo(
    () => matching(mirror.pods.values(), filter, words).sort((a, b) => byName(a.key, b.key)),
    [mirror, mirror.podsVersion, filter],
  );
  return (
    <>
      {mirror.podsLeftOut > 0 && <p class="none">{mirror.podsLeftOut} pods are left out: there are too many.</p>}
      <Table
        things={things}
        keyOf={({ key }) => key}
        choice={({ key }) => ({ kind: "pod", key })}
        look={placeOf}
        select={select}
        none="No pods."
        columns={[
          { head: "Pod", cell: ({ key }) => key },
          { head: "Where", cell: (pod) => <Places of={pod} now={now(mirror)} /> },
          { head: "Phase", cell: ({ phase, gone }) => (gone === undefined ? phase : "") },
          { head: "Addresses", cell: ({ ips }) => ips.join(" ") },
          { head: "Further networks", cell: ({ further }) => further.map(({ network }) => network).join(" ") },
        ]}
      />
    </>
  );
}

export function Claims({ mirror, filter, select }: ListProps) {
  const words = ({ key, node, network, ips, pod }: MapClaim) => [key, node, network, pod, ...ips];
  const things = matching(mirror.claims.values(), filter, words).sort((a, b) => byName(a.key, b.key));
  return (
    <Table
      things={things}
      keyOf={({ key }) => key}
      choice={({ key }) => ({ kind: "claim", key })}
      look={placeOf}
      select={select}
      none="No claims."
      columns={[
        { head: "Claim", cell: ({ key }) => key },
        { head: "Network", cell: ({ network }) => network },
        { head: "Addresses", cell: ({ ips }) => ips.join(" ") },
        { head: "Where", cell: (claim) => <Places of={claim} now={now(mirror)} /> },
        { head: "Pod", cell: ({ pod }) => pod ?? "" },
        { head: "Fault", cell: ({ fault }) => fault ?? "" },
      ]}
    />
  );
}

const PROTOCOLS: Readonly<Record<number, string>> = { 1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP" };

const endWords = ({ ip, port, pod, node }: MapFlowEnd): string =>
  `${pod ?? node ?? ""} ${port === 0 ? ip : ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`}`.trim();

/** Newest first. */
export function Flows({ mirror, filter, select }: ListProps) {
  const words = ({ verdict, source, destination, network, service, policy }: MapFlow) => [
    verdict,
    endWords(source),
    endWords(destination),
    network,
    service,
    policy,
  ];
  const things = matching(mirror.flows.values(), filter, words).sort((a, b) => b.at - a.at);
  const on = mirror.order.some(({ flows }) => flows?.on);
  return (
    <Table
      things={things}
      keyOf={({ key }) => key}
      look={({ verdict }) => verdict}
      select={select}
      none={on ? "No flows." : "No agent records flows (flows: on)."}
      columns={[
        { head: "At", cell: ({ at }) => clock(at) },
        { head: "Verdict", cell: ({ verdict, policy }) => `${verdict}${policy === undefined ? "" : ` by ${policy}`}` },
        { head: "Network", cell: ({ network }) => network },
        { head: "Protocol", cell: ({ protocol }) => PROTOCOLS[protocol] ?? protocol },
        { head: "Source", cell: ({ source }) => endWords(source) },
        { head: "Destination", cell: ({ destination }) => endWords(destination) },
        { head: "Service", cell: ({ service }) => service ?? "" },
        { head: "State", cell: ({ state }) => state },
        { head: "Packets", cell: ({ packets }) => packets ?? "" },
        { head: "Bytes", cell: ({ bytes }) => bytes ?? "" },
      ]}
    />
  );
}
