/** `lab claim …`. */
import { type Command, table, UsageError } from "../../src/cli/index.ts";
import type { LabClaim } from "../pods/claims.ts";
import { ANSWER, answer, NAME, print, withLab } from "./common.ts";

const NAMESPACE = { value: "NAMESPACE", help: 'its namespace ("default")' };

/** Claims as a table. */
export const claimTable = (claims: readonly LabClaim[]): string =>
  claims.length === 0
    ? "no claims\n"
    : table(
        ["NAMESPACE", "CLAIM", "NETWORK", "FOR POD", "ADDRESSES", "MAC", "USED BY", "ON"],
        claims.map((claim) => [
          claim.namespace,
          claim.name,
          claim.network,
          claim.podName,
          claim.ips.join(" "),
          claim.mac,
          claim.pod,
          claim.node,
        ]),
      );

const add: Command = {
  words: ["lab", "claim", "add"],
  summary: "Claims an address and a MAC address in a pod network for a workload",
  operands: "NAME",
  count: [1, 1],
  options: {
    ...ANSWER,
    network: { value: "NETWORK", help: "the pod network" },
    pod: { value: "POD", help: "name of the pod that is to have it (one that names the claim)" },
    ip: { value: "IPS", help: "these addresses, one a family, separated by a comma (free ones)" },
    mac: { value: "MAC", help: "this MAC address (one of its own)" },
    namespace: NAMESPACE,
  },
  details: `The pod's network is asked for as ever: lab pod add node1 POD --network NETWORK. Without --pod it names the claim:
--network '[{"name": "NETWORK", "claim": "NAME"}]'.`,
  run: (input) =>
    withLab(input, async (lab) => {
      const network = input.text("network");
      if (network === undefined) throw new UsageError("a claim needs --network");
      const [podName, ip, mac, namespace] = [
        input.text("pod"),
        input.text("ip"),
        input.text("mac"),
        input.text("namespace"),
      ];
      const claim = await lab.addClaim(input.operands[0] as string, {
        network,
        ...(podName !== undefined && { podName }),
        ...(ip !== undefined && { ips: ip.split(",") }),
        ...(mac !== undefined && { mac }),
        ...(namespace !== undefined && { namespace }),
      });
      await answer(input, claim, () => claimTable([claim]));
      return 0;
    }),
};

const list: Command = {
  words: ["lab", "claim", "list"],
  summary: "Lists the claims and who has them in use",
  options: ANSWER,
  run: (input) =>
    withLab(input, async (lab) => {
      const claims = await lab.claims();
      await answer(input, claims, () => claimTable(claims));
      return 0;
    }),
};

const remove: Command = {
  words: ["lab", "claim", "remove"],
  summary: "Removes a claim, which frees its addresses",
  operands: "NAME",
  count: [1, 1],
  options: { ...NAME, namespace: NAMESPACE },
  run: (input) =>
    withLab(input, async (lab) => {
      const [name] = input.operands as [string];
      await lab.removeClaim(name, input.text("namespace"));
      await print(`${name} is removed\n`);
      return 0;
    }),
};

export const claimCommands: readonly Command[] = [add, list, remove];
