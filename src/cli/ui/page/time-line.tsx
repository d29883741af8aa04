/** What happened, newest first. */
import type { Moment, MomentKind } from "../wire.ts";
import { useGrowing } from "./growing.ts";
import type { ListProps } from "./tables.tsx";
import { clock } from "./words.ts";

const MOST = 300;

const KIND_WORDS: Readonly<Record<MomentKind, string>> = {
  event: "Event",
  repair: "repair",
  refusal: "refusal",
  node: "node",
  pod: "pod",
  claim: "claim",
  network: "network",
  probe: "probes",
  flow: "flow",
};

export function TimeLine({ mirror, filter, select }: ListProps) {
  const shown = mirror.moments
    .filter(
      ({ kind, subject, text }) =>
        filter === "" || `${KIND_WORDS[kind]} ${subject} ${text}`.toLowerCase().includes(filter),
    )
    .slice(0, MOST);
  const growing = useGrowing(shown.length);
  const choose = ({ subject }: Moment) => {
    if (mirror.nodes.has(subject)) return { kind: "node", name: subject } as const;
    if (mirror.pods.has(subject)) return { kind: "pod", key: subject } as const;
    if (mirror.claims.has(subject)) return { kind: "claim", key: subject } as const;
    return mirror.networks.has(subject) ? ({ kind: "network", name: subject } as const) : undefined;
  };
  if (shown.length === 0) return <p class="none">Nothing has happened since the map was started.</p>;
  return (
    <ol class="moments">
      {shown.slice(0, growing).map((moment) => {
        const choice = choose(moment);
        return (
          <li key={moment.id} class={moment.bad ? "bad" : ""}>
            <time dateTime={new Date(moment.at).toISOString()}>{clock(moment.at)}</time>{" "}
            <span class={`kind ${moment.kind}`}>{KIND_WORDS[moment.kind]}</span>{" "}
            {choice ? (
              <button type="button" class="link" onClick={() => select(choice)}>
                {moment.subject}
              </button>
            ) : (
              <b>{moment.subject}</b>
            )}{" "}
            {moment.text}
          </li>
        );
      })}
    </ol>
  );
}
