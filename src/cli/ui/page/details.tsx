/** More about what is chosen. */
import type { ComponentChildren } from "preact";
import { byName, type Mirror } from "./mirror.ts";
import type { Select, Selection } from "./selection.ts";
import { networksOf, Places } from "./tables.tsx";
import { TraceFrom } from "./trace.tsx";
import { cellWords, NODE_WORDS } from "./words.ts";

interface DetailsProps {
  mirror: Mirror;
  selection: Selection;
  select: Select;
}

function Facts({ of }: { of: readonly (readonly [name: string, value: ComponentChildren])[] }) {
  return (
    <dl>
      {of
        .filter(([, value]) => value !== undefined && value !== "" && value !== null)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

const GONE = <p class="none">It is not there any more.</p>;

function NodeDetails({ mirror, name, select }: { mirror: Mirror; name: string; select: Select }) {
  const node = mirror.nodes.get(name);
  if (!node) return GONE;
  const pods = [...mirror.pods.values()].filter((pod) => pod.node === name && pod.gone === undefined);
  return (
    <>
      <Facts
        of={[
          ["Agent", `${NODE_WORDS[node.state]}${node.version ? `, version ${node.version}` : ""}`],
          ["Why", node.state === "ready" ? "" : node.why],
          ["Kubelet", node.kubelet],
          ["API server", node.api],
          ["Addresses", node.ips.join(" ")],
          ["Probes", node.probes?.message ?? "off"],
          ["Flows", node.flows ? (node.flows.on ? "on" : `off: ${node.flows.message}`) : "off"],
        ]}
      />
      {(node.probes?.verdicts ?? []).map(({ found, meaning, cure }) => (
        <div class="verdict" key={found}>
          <strong>{found}</strong>
          <p>{meaning}</p>
          <p>{cure}</p>
        </div>
      ))}
      {node.vteps.map(({ network, vni, device, mac, underlayIp, mtu, podCidrs, programmed, peers, repairs, ready }) => (
        <section key={network}>
          <h3>
            Network {network}
            {ready ? "" : " (not ready)"}
          </h3>
          <Facts
            of={[
              ["VTEP", `${device}, ${mac}, MTU ${mtu}`],
              ["VXLAN", `VNI ${vni}, from ${underlayIp}`],
              ["Pod CIDRs", podCidrs.join(" ")],
              ["Peers", `${programmed} of ${peers} in the kernel`],
              ["Repairs", repairs],
            ]}
          />
        </section>
      ))}
      {node.refused.map(({ network, node: other, reason, message }) => (
        <div class="verdict" key={`${network} ${other} ${reason}`}>
          <strong>
            Refuses {other} in {network}: {reason}
          </strong>
          <p>{message}</p>
        </div>
      ))}
      <h3>{pods.length} pods</h3>
      <ul class="plain">
        {pods.slice(0, 50).map(({ key, ips }) => (
          <li key={key}>
            <button type="button" class="link" onClick={() => select({ kind: "pod", key })}>
              {key}
            </button>{" "}
            {ips.join(" ")}
          </li>
        ))}
      </ul>
    </>
  );
}

function PairDetails({ mirror, from, to }: { mirror: Mirror; from: string; to: string }) {
  const [a, b] = [mirror.nodes.get(from), mirror.nodes.get(to)];
  if (!a || !b) return GONE;
  const podOn = (node: string): string | undefined =>
    [...mirror.pods.values()].find((pod) => pod.node === node && pod.gone === undefined && pod.ips.length > 0)?.key;
  const [source, target] = [podOn(from), podOn(to)];
  return (
    <>
      <Facts
        of={[
          [`${from} of ${to}`, cellWords(mirror.cell(a, b))],
          [`${to} of ${from}`, cellWords(mirror.cell(b, a))],
          [`Agent of ${from}`, NODE_WORDS[a.state]],
          [`Agent of ${to}`, NODE_WORDS[b.state]],
        ]}
      />
      {source !== undefined && target !== undefined && (
        <>
          <h3>From pod {source}</h3>
          <TraceFrom mirror={mirror} from={source} to={target} />
        </>
      )}
    </>
  );
}

function PodDetails({ mirror, podKey }: { mirror: Mirror; podKey: string }) {
  const pod = mirror.pods.get(podKey);
  if (!pod) return GONE;
  return (
    <>
      <Facts
        of={[
          ["Where", <Places key="where" of={pod} now={Date.now() + mirror.ahead} />],
          ["Phase", pod.phase],
          ["Addresses", pod.ips.join(" ")],
          ...pod.further.map(({ network, ips }): [string, string] => [`In ${network}`, ips.join(" ")]),
        ]}
      />
      {pod.gone === undefined && pod.ips.length > 0 && <TraceFrom mirror={mirror} from={podKey} />}
    </>
  );
}

function ClaimDetails({ mirror, claimKey }: { mirror: Mirror; claimKey: string }) {
  const claim = mirror.claims.get(claimKey);
  if (!claim) return GONE;
  return (
    <Facts
      of={[
        ["Network", claim.network],
        ["Addresses", claim.ips.join(" ")],
        ["MAC", claim.mac],
        ["Where", <Places key="where" of={claim} now={Date.now() + mirror.ahead} />],
        ["Pod", claim.pod],
        ["Fault", claim.fault],
      ]}
    />
  );
}

function NetworkDetails({ mirror, name, select }: { mirror: Mirror; name: string; select: Select }) {
  const network = networksOf(mirror).find((one) => one.name === name);
  if (!network) return GONE;
  const on = mirror.order.flatMap((node) => {
    const vtep = node.vteps.find((one) => one.network === name);
    return vtep ? [{ node: node.name, vtep }] : [];
  });
  return (
    <>
      <Facts
        of={[
          ["VNI", network.vni],
          ["Mode", network.mode],
          ["CIDRs", network.cidrs.join(" ")],
          ["MTU", network.mtu],
        ]}
      />
      <h3>On {on.length} nodes</h3>
      <ul class="plain">
        {on
          .sort((a, b) => byName(a.node, b.node))
          .slice(0, 100)
          .map(({ node, vtep }) => (
            <li key={node}>
              <button type="button" class="link" onClick={() => select({ kind: "node", name: node })}>
                {node}
              </button>{" "}
              {vtep.ready ? "ready" : "not ready"}, {vtep.podCidrs.join(" ")}
            </li>
          ))}
      </ul>
    </>
  );
}

const titleOf = (selection: Selection): string => {
  if (selection.kind === "pair") return `${selection.from} and ${selection.to}`;
  return "name" in selection ? selection.name : selection.key;
};

function Body({ mirror, selection, select }: DetailsProps) {
  switch (selection.kind) {
    case "node":
      return <NodeDetails mirror={mirror} name={selection.name} select={select} />;
    case "pair":
      return <PairDetails mirror={mirror} from={selection.from} to={selection.to} />;
    case "network":
      return <NetworkDetails mirror={mirror} name={selection.name} select={select} />;
    case "pod":
      return <PodDetails mirror={mirror} podKey={selection.key} />;
    default:
      return <ClaimDetails mirror={mirror} claimKey={selection.key} />;
  }
}

export function Details(props: DetailsProps) {
  const { selection, select } = props;
  return (
    <section class="panel details" aria-label="Details">
      <header>
        <h2>
          <small>{selection.kind}</small> {titleOf(selection)}
        </h2>
        <button type="button" aria-label="Close details" onClick={() => select(undefined)}>
          ×
        </button>
      </header>
      <Body {...props} />
    </section>
  );
}
