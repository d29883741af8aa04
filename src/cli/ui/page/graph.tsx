/** Few nodes as a graph: a line a pair, in the colour of the worse of what its two ends have found. */
import type { MapNode } from "../wire.ts";
import type { Cell, Mirror } from "./mirror.ts";
import { SEVERITY } from "./paint.ts";
import type { Select } from "./selection.ts";
import { cellWords, NODE_WORDS } from "./words.ts";

const SIZE = 600;
const RADIUS = 235;

interface Placed {
  node: MapNode;
  x: number;
  y: number;
}

const placed = (nodes: readonly MapNode[]): Placed[] =>
  nodes.map((node, i) => {
    const angle = (2 * Math.PI * i) / nodes.length - Math.PI / 2;
    const radius = nodes.length === 1 ? 0 : RADIUS;
    return { node, x: SIZE / 2 + radius * Math.cos(angle), y: SIZE / 2 + radius * Math.sin(angle) };
  });

const worse = (a: Cell, b: Cell): Cell => (SEVERITY[a.state] >= SEVERITY[b.state] ? a : b);

/** Enter and space choose, as with a button. */
const onKey =
  (choose: () => void) =>
  (event: KeyboardEvent): void => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose();
  };

function Edge({ a, b, mirror, select }: { a: Placed; b: Placed; mirror: Mirror; select: Select }) {
  const [there, back] = [mirror.cell(a.node, b.node), mirror.cell(b.node, a.node)];
  const { state } = worse(there, back);
  const choose = (): void => select({ kind: "pair", from: a.node.name, to: b.node.name });
  const label = `${a.node.name} → ${b.node.name}: ${cellWords(there)}; back: ${cellWords(back)}`;
  const line = { x1: a.x, y1: a.y, x2: b.x, y2: b.y };
  const bad = SEVERITY[state] > 1;
  return (
    <g tabindex={bad ? 0 : -1} role="button" aria-label={label} class="edge" onClick={choose} onKeyDown={onKey(choose)}>
      <title>{label}</title>
      <line {...line} class="reach" />
      <line {...line} class={`line ${state} ${bad ? "bad" : ""}`} />
    </g>
  );
}

export function Graph({ mirror, select }: { mirror: Mirror; select: Select }) {
  const all = placed(mirror.order);
  const pods = Map.groupBy(
    [...mirror.pods.values()].filter(({ gone }) => gone === undefined),
    ({ node }) => node,
  );
  return (
    <svg
      class="graph"
      viewBox={`0 0 ${SIZE} ${SIZE}`}
      role="group"
      aria-label="Nodes and what they measure of each other"
    >
      {all.flatMap((a, i) =>
        all
          .slice(i + 1)
          .map((b) => <Edge key={`${a.node.name} ${b.node.name}`} a={a} b={b} mirror={mirror} select={select} />),
      )}
      {all.map(({ node, x, y }) => {
        const choose = (): void => select({ kind: "node", name: node.name });
        const count = pods.get(node.name)?.length ?? 0;
        return (
          <g
            key={node.name}
            transform={`translate(${x} ${y})`}
            tabindex={0}
            role="button"
            class={`node ${node.state}`}
            aria-label={`${node.name}: ${NODE_WORDS[node.state]}, ${count} pods`}
            onClick={choose}
            onKeyDown={onKey(choose)}
          >
            <circle r={all.length > 15 ? 18 : 30} />
            <text dy="0.35em" class="count">
              {count}
            </text>
            <text y={y > SIZE / 2 ? 50 : -38} class="name">
              {node.name}
            </text>
          </g>
        );
      })}
    </svg>
  );
}
