/** The page as a whole. */
import { useState } from "preact/hooks";
import { Details } from "./details.tsx";
import { Graph } from "./graph.tsx";
import { Legend, Matrix } from "./matrix.tsx";
import type { Mirror } from "./mirror.ts";
import type { Selection } from "./selection.ts";
import { Claims, Flows, type ListProps, Networks, Nodes, networksOf, Pods } from "./tables.tsx";
import { TimeLine } from "./time-line.tsx";

/** So many nodes are shown as a graph. */
const MOST_IN_GRAPH = 30;

const LISTS = { nodes: Nodes, networks: Networks, pods: Pods, claims: Claims, flows: Flows } as const;
type List = keyof typeof LISTS;
const NAMES: Readonly<Record<List, string>> = {
  nodes: "Nodes",
  networks: "Networks",
  pods: "Pods",
  claims: "Claims",
  flows: "Flows",
};

/** Left and right go from one to the next, as in any list of tabs. */
function onTabKey(event: KeyboardEvent): void {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const tabs = [...((event.currentTarget as HTMLElement).querySelectorAll("button") as Iterable<HTMLButtonElement>)];
  const at = tabs.indexOf(document.activeElement as HTMLButtonElement);
  if (step === undefined || at < 0) return;
  const next = tabs[(at + step + tabs.length) % tabs.length];
  next?.focus();
  next?.click();
  event.preventDefault();
}

function Lists(props: ListProps) {
  const { mirror } = props;
  const [list, setList] = useState<List>("nodes");
  const Shown = LISTS[list];
  const counts: Readonly<Record<List, number>> = {
    nodes: mirror.nodes.size,
    networks: networksOf(mirror).length,
    pods: [...mirror.pods.values()].filter(({ gone }) => gone === undefined).length,
    claims: [...mirror.claims.values()].filter(({ gone }) => gone === undefined).length,
    flows: mirror.flows.size,
  };
  return (
    <section class="panel lists">
      <div role="tablist" class="tabs" onKeyDown={onTabKey}>
        {(Object.keys(LISTS) as List[]).map((one) => (
          <button
            key={one}
            id={`tab-${one}`}
            type="button"
            role="tab"
            aria-selected={one === list}
            aria-controls="list"
            tabIndex={one === list ? 0 : -1}
            onClick={() => setList(one)}
          >
            {NAMES[one]} <small>{counts[one]}</small>
          </button>
        ))}
      </div>
      <div id="list" role="tabpanel" aria-labelledby={`tab-${list}`}>
        <Shown {...props} />
      </div>
    </section>
  );
}

function Summary({ mirror }: { mirror: Mirror }) {
  const ready = mirror.order.filter(({ state }) => state === "ready").length;
  const verdicts = new Set(mirror.order.flatMap(({ probes }) => probes?.verdicts.map(({ found }) => found) ?? []));
  const well = ready === mirror.order.length && verdicts.size === 0;
  return (
    <p class={`summary ${well ? "well" : "ill"}`} role="status">
      {ready} of {mirror.order.length} nodes ready
      {verdicts.size > 0 && `, ${verdicts.size} ${verdicts.size === 1 ? "thing" : "things"} wrong between nodes`}
    </p>
  );
}

interface AppProps {
  mirror: Mirror;
  connected: boolean;
  /** How much of everything was read, 0 to 1, while it is. */
  share: number | undefined;
}

export function App({ mirror, connected, share }: AppProps) {
  const [selection, select] = useState<Selection>();
  const [text, setText] = useState("");
  const [wanted, setWanted] = useState<"graph" | "matrix">();
  const filter = text.trim().toLowerCase();
  const few = mirror.order.length <= MOST_IN_GRAPH;
  const shape = few ? (wanted ?? "graph") : "matrix";
  const props = { mirror, filter, select };
  const silent = mirror.order.some(({ state }) => state === "ready") && !mirror.order.some(({ probes }) => probes?.on);
  return (
    <main onKeyDown={(event) => event.key === "Escape" && select(undefined)}>
      <header class="top">
        <h1>
          Skylane <small>{mirror.title}</small>
        </h1>
        {mirror.title !== "" && <Summary mirror={mirror} />}
        {!connected && (
          <p class="lost" role="alert">
            {share !== undefined
              ? `Reading what there is: ${Math.floor(100 * share)} %`
              : mirror.title === ""
                ? "Connecting…"
                : "Nobody answers: what is shown is old. Is the command still running?"}
          </p>
        )}
        <label class="filter">
          Filter <input type="search" value={text} onInput={(event) => setText(event.currentTarget.value)} />
        </label>
      </header>
      {mirror.troubles.map(({ what, why }) => (
        <p key={what} class="trouble" role="alert">
          Cannot read {what}: {why}
        </p>
      ))}
      <div class="columns">
        <section class="panel pairs" aria-label="Pairs of nodes">
          <header>
            <h2>Between nodes</h2>
            {few && (
              <button type="button" onClick={() => setWanted(shape === "graph" ? "matrix" : "graph")}>
                {shape === "graph" ? "Matrix" : "Graph"}
              </button>
            )}
          </header>
          {shape === "graph" ? <Graph {...props} /> : <Matrix {...props} />}
          {silent && <p class="none">No node measures its peers: their agents' probes are off (probes: on).</p>}
          <Legend />
        </section>
        <div class="side">
          {selection && <Details mirror={mirror} selection={selection} select={select} />}
          <section class="panel" aria-label="Time line">
            <h2>What happened</h2>
            <TimeLine {...props} />
          </section>
        </div>
      </div>
      <Lists {...props} />
    </main>
  );
}
