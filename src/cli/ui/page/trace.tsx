/** The way of a packet between two pods, made when it is asked for. */
import { useEffect, useState } from "preact/hooks";
import type { MapTrace } from "../wire.ts";
import { byName, type Mirror } from "./mirror.ts";

/** So many are offered; more are found by typing. */
const MOST_OFFERED = 500;

async function ask(from: string, to: string): Promise<MapTrace> {
  try {
    const response = await fetch(`trace?${new URLSearchParams({ from, to }).toString()}`);
    return (await response.json()) as MapTrace;
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

function Found({ error, trace }: MapTrace) {
  if (!trace) return <p class="trouble">{error}</p>;
  return (
    <>
      {trace.wrong ? (
        <div class="verdict">
          <strong>
            Wrong on {trace.wrong.node}: {trace.wrong.hop}
          </strong>
          <p>{trace.wrong.is}</p>
          <p>{trace.wrong.means}</p>
          <p>{trace.wrong.cure}</p>
        </div>
      ) : (
        <p class="summary well">Nothing is wrong on this way, as far as could be told.</p>
      )}
      {trace.missing && <p class="none">{trace.missing}</p>}
      <ol class="hops">
        {trace.hops.map(({ node, hop, should, is, state }, i) => (
          <li key={`${i} ${hop}`} class={state === "wrong" ? "bad" : ""}>
            <b>{node}</b> {hop}: {is}
            {state !== "ok" && ` (${state}; should be: ${should})`}
          </li>
        ))}
      </ol>
    </>
  );
}

/** Asks for the trace from one pod to another that is chosen here. @param to chosen beforehand */
export function TraceFrom({ mirror, from, to = "" }: { mirror: Mirror; from: string; to?: string }) {
  const [target, setTarget] = useState(to);
  const [found, setFound] = useState<MapTrace | "asked">();
  useEffect(() => {
    setTarget(to);
    setFound(undefined);
  }, [from, to]);
  const running = [...mirror.pods.values()].filter(
    ({ key, gone, ips }) => key !== from && gone === undefined && ips.length > 0,
  );
  const others = running.map(({ key }) => key).sort(byName);
  const start = (): void => {
    setFound("asked");
    void ask(from, target).then(setFound);
  };
  return (
    <form
      class="trace"
      onSubmit={(event) => {
        event.preventDefault();
        start();
      }}
    >
      <label>
        Trace to <input list="pods" value={target} onInput={(event) => setTarget(event.currentTarget.value)} />
      </label>
      <datalist id="pods">
        {others.slice(0, MOST_OFFERED).map((key) => (
          <option key={key} value={key} />
        ))}
      </datalist>{" "}
      <button type="submit" disabled={found === "asked" || !mirror.pods.has(target)}>
        Trace
      </button>
      {found === "asked" ? <p class="none">Asking both nodes…</p> : found && <Found {...found} />}
    </form>
  );
}
