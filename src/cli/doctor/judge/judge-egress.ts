/** Whether pods that leave the cluster by egress gateways can. */
import type { Facts } from "../facts.ts";
import { fail, type Finding, ok, some, warn } from "../finding.ts";

/** Nothing where there are no egress gateways. */
export function judgeEgress({ agent }: Facts): Finding[] {
  const egress = "value" in agent ? agent.value.egress : undefined;
  if (!egress) return [];
  const { message, gateways, faults } = egress;
  const name = "egress";
  const stranded = gateways.flatMap(({ gateway, pods }) =>
    pods
      .filter(({ address, node }) => address === undefined || node === undefined)
      .map(
        ({ pod, address }) =>
          `${pod}: ${address === undefined ? `EgressGateway ${gateway} has no address for it` : `nobody has ${address}`}`,
      ),
  );
  const refused = gateways.flatMap(({ gateway, why }) =>
    why === undefined ? [] : [`EgressGateway ${gateway}: ${why}`],
  );
  const wayless = gateways.flatMap(({ gateway, noWayOut }) =>
    noWayOut === undefined ? [] : [`EgressGateway ${gateway}: ${noWayOut}`],
  );
  const findings = [
    ...(message === undefined
      ? []
      : [
          warn(
            name,
            message,
            "This node goes on as it was told last: new pods are not led to their egress gateways.",
            "See whether the agent reaches the API server (skylanectl status), and whether its role is that of this release.",
          ),
        ]),
    ...(faults.length === 0
      ? []
      : [
          fail(
            name,
            some(faults.map(({ entry, why }) => `${entry}: ${why}`)),
            "Packets of selected pods are dropped on this node, or answers to them.",
            "See the log of the skylane-agent pod of this node: it names what the kernel refused.",
          ),
        ]),
    ...(stranded.length === 0
      ? []
      : [
          fail(
            name,
            some(stranded),
            "What these pods send to outside of the cluster is dropped: a node's own address is not one that the firewall outside knows.",
            "kubectl describe egressgateway says why; label a live node so that its nodeSelector selects it.",
          ),
        ]),
    ...(wayless.length === 0
      ? []
      : [
          warn(
            name,
            some(wayless),
            "Pods of that network reach nothing outside of it, whatever gateways select them.",
            'kubectl patch podnetwork NAME --type merge -p \'{"spec":{"masquerade":true}}\' gives a Routed network its way out.',
          ),
        ]),
    ...(refused.length === 0
      ? []
      : [
          warn(
            name,
            some(refused),
            "These addresses are on no node.",
            "Choose addresses of the nodes' network that nobody has; kubectl describe egressgateway shows the same.",
          ),
        ]),
  ];
  const pods = gateways.reduce((sum, one) => sum + new Set(one.pods.map(({ pod }) => pod)).size, 0);
  return findings.length > 0
    ? findings
    : [ok(name, `${gateways.length} egress gateways, by which ${pods} pods of this node leave`)];
}
