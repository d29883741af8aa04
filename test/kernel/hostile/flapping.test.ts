import assert from "node:assert/strict";
import { eventuallyHolds } from "../../support/eventually.ts";
import { lost, useLab } from "../lab/support.ts";
import { attack, hostileNode } from "./support.ts";

const CHANGES = 600;

describe("a hostile node that changes what it announces all the time", () => {
  const the = useLab({ nodes: 3 });

  before("a pod on each node", async () => {
    for (const node of [1, 2, 3]) await the().addPod(`node${node}`, `pod${node}`);
  });

  const log = (node: string): Promise<string> => the().exec(node, "cat", "/var/log/skylane-agent.log");
  /** Processor time that the agent of a node has taken, in milliseconds. */
  const cpu = async (node: string): Promise<number> => {
    const pid = (await the().exec(node, "pgrep", "-of", "skylane-agent.cjs")).trim();
    const stat = await the().exec(node, "cat", `/proc/${pid}/stat`);
    const [user = 0, system = 0] = stat.slice(stat.lastIndexOf(")")).split(" ").slice(12, 14).map(Number);
    return (user + system) * 10;
  };

  attack("node", `changes its annotation ${CHANGES} times`, async () => {
    const mallory = await hostileNode(the(), "node3");
    const before = (await log("node1")).split("\n").length;
    const spent = await cpu("node1");
    try {
      for (let n = 0; n < CHANGES; n++)
        await (n % 2 ? mallory.announce("{") : mallory.change({ mac: `02:00:00:00:00:${(n % 90) + 10}` }));
      // What comes from another node meanwhile is not held back.
      assert.deepEqual(
        (
          await the().ping(
            the()
              .pods()
              .filter(({ node }) => node !== "node3"),
          )
        ).filter(({ rttMs }) => rttMs === undefined),
        [],
      );
    } finally {
      await mallory.repent();
    }
    await eventuallyHolds(async () => assert.deepEqual(await lost(the()), []), { timeoutMs: 100_000 });
    const lines = (await log("node1")).split("\n").slice(before);
    const about = lines.filter((line) => line.includes("node3"));
    assert.ok(about.length < 120, `${about.length} lines of log`);
    assert.match(about.join("\n"), /Node node3 changes what it publishes too often/);
    const { items } = await the().api.call("GET", "/api/v1/namespaces/default/events");
    const events = (items as { involvedObject: { name: string }; message: string }[]).filter(
      ({ involvedObject, message }) => involvedObject.name === "node1" && message.includes("node3"),
    );
    assert.ok(events.length < 60, `${events.length} Events`);
    const ms = (await cpu("node1")) - spent;
    return `${about.length} lines of log, ${events.length} Events and ${ms} ms of processor time on another node; its last word was taken in the end`;
  });
});
