/**
 * What a change of pods or policies costs on one node of a large cluster, from its news to rules in the kernel that have it: the compiler and the
 * table of the product, in a namespace of its own.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Changes, PolicyModel, PolicyTable } from "../../../src/policy/index.ts";
import {
  HERE,
  ipsOf,
  namespacesOf,
  podNumber,
  policiesOf,
  type PolicyClusterSize,
  policyOf,
} from "../../simulator/policy-cluster.ts";
import type { Measurement } from "../../support/context.ts";
import { namespace } from "../../support/namespace.ts";
import { alone, type Row, type Target, type Unit } from "../../support/row.ts";
import { quantile } from "../../support/stats.ts";

const SIZE: PolicyClusterSize = { pods: 100_000, namespaces: 1_000, policies: 5, perNode: 110 };
const QUICK: PolicyClusterSize = { pods: 5_000, namespaces: 100, policies: 5, perNode: 110 };
/** Pods that are told of in one turn, as the agent does it. */
const PART = 1_000;

const inMb = (): number => {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed / 1e6;
};

export const policyChanges: Measurement = {
  name: "policy-changes",
  title: "A change of pods or policies in a large cluster",
  async run(context) {
    const size = context.quick ? QUICK : SIZE;
    const cluster = `${size.pods.toLocaleString("en")} pods, ${(size.namespaces * size.policies).toLocaleString("en")} policies`;
    const rows: Row[] = [];
    const add = (measure: string, unit: Unit, samples: readonly number[], target?: Target): void => {
      rows.push(
        alone({ group: "policy changes", measure: `${cluster}: ${measure}`, unit, ...(target && { target }) }, samples),
      );
    };
    const atMost = (value: number): Target => ({ of: "value", atMost: value });
    const ns = namespace(context, "policy");
    const table = new PolicyTable({ netns: ns.path });
    context.onEnd(() => table[Symbol.dispose]());
    context.say(`${cluster}: starting`);
    const before = inMb();
    const model = new PolicyModel(HERE, ["10.0.0.0/8", "fd00::/64"]);
    const start = performance.now();
    model.change({ namespaces: { set: namespacesOf(size) } });
    for (let n = 0; n < size.pods; n += PART)
      model.change({ pods: { set: Array.from({ length: PART }, (_, i) => podNumber(n + i, size)) } });
    model.change({ policies: { set: policiesOf(size) } });
    const compiled = performance.now();
    await table.put(model.ruleset);
    const there = performance.now();
    add("worked out from nothing", "s", [(compiled - start) / 1_000]);
    add("all rules into the kernel", "s", [(there - compiled) / 1_000]);
    add("heap that pods, policies and rules take", "MB", [inMb() - before], atMost(60));

    const apply = async (changes: Changes): Promise<number> => {
      const begin = performance.now();
      const { rules } = model.change(changes);
      await table.apply(model.ruleset, rules);
      return performance.now() - begin;
    };
    /** Labels of pods turn into those of another part of their team's. @param first number of a pod */
    const relabelled = async (first: number, times: number): Promise<number[]> => {
      const took: number[] = [];
      for (let round = 0; round < times; round++) {
        took.push(
          await apply({ pods: { set: [podNumber(first + round, size, { app: `app${(first + round + 2) % 5}` })] } }),
        );
        // The agent does other work in between.
        await new Promise((resolve) => setImmediate(resolve));
      }
      return took;
    };
    const times = context.quick ? 40 : 400;
    const elsewhere = await relabelled(size.pods - times, times);
    add("one pod's labels: median", "ms", elsewhere, atMost(10));
    add("the same, 99th percentile", "ms", [quantile(elsewhere, 0.99)], atMost(50));
    add(
      "labels of a pod of this node, which has other policies then: median",
      "ms",
      await relabelled(0, size.perNode / 2),
    );

    const comes: number[] = [];
    for (let round = 0; round < (context.quick ? 10 : 50); round++) {
      const pod = { ...podNumber(round, size), namespace: "team1", name: `new${round}`, ips: ipsOf(size.pods + round) };
      comes.push(await apply({ pods: { set: [pod] } }));
    }
    add("one pod more on this node: median", "ms", comes);

    const policy: number[] = [];
    for (let round = 0; round < (context.quick ? 3 : 20); round++) {
      // All pods of a tenth of the namespaces are peers, and those of one namespace of this node its subject.
      const spec = {
        podSelector: {},
        ingress: [
          {
            from: [{ namespaceSelector: { matchLabels: { group: `group${round % 10}` } } }],
            ports: [{ port: 9000 + round }],
          },
        ],
      };
      policy.push(await apply({ policies: { set: [policyOf(`team${round % size.perNode}`, `new${round}`, spec)] } }));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const peers = (size.pods / 10).toLocaleString("en");
    add(`a new policy with ${peers} pods as peers: median`, "ms", policy);
    add("the same, 99th percentile", "ms", [quantile(policy, 0.99)], atMost(250));
    return rows;
  },
};
