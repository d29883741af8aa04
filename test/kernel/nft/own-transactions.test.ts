/** What this process does to elements is not told to those of it who watch the packet filter; all else is. */
import assert from "node:assert/strict";
import { ElementSocket, NftWatch, type RawStep, toolRunner } from "../../../src/dataplane/nft/index.ts";
import { encodeSteps } from "../../../src/dataplane/nft/rules/raw-batch.ts";
import { NETLINK_NETFILTER } from "../../../src/netlink/index.ts";
import { KernelSocket, withNetns } from "../../../src/sys/index.ts";
import { eventually } from "../../support/eventually.ts";
import { testNamespace } from "../support/netns.ts";

const address = (table: string, last: number): RawStep => ({
  table,
  set: "s",
  come: [{ key: Uint8Array.of(10, 0, 0, last) }],
  gone: [],
});

/** A namespace with tables, each with a set of addresses, what is opened there first, and somebody who watches. */
async function watched<T>(name: string, openFirst: (netns: string) => T) {
  const ns = testNamespace(name);
  const nft = toolRunner({ netns: ns.path });
  const tables = ["ours", "theirs"].map(
    (table) => `add table inet ${table}\nadd set inet ${table} s { type ipv4_addr; }\n`,
  );
  await nft("nft", ["-f", "-"], tables.join(""));
  const first = openFirst(ns.path);
  const { told, watch } = listen(ns.path);
  let asked = 0;
  /** Tables that were told of before somebody else's change of the table "theirs", which is told of last. */
  const before = async (): Promise<string[]> => {
    await nft("nft", ["add", "element", "inet", "theirs", "s", `{ 10.9.9.${++asked} }`]);
    await eventually(() => told.at(-1) === "inet theirs");
    return told.splice(0).slice(0, -1);
  };
  return { netns: ns.path, first, watch, before };
}

function listen(netns: string) {
  const told: string[] = [];
  const watch = NftWatch.open({
    netns,
    onTransactions: (transactions) => void told.push(...transactions.flatMap(({ tables }) => [...tables])),
    onLost: assert.fail,
  });
  return { told, watch };
}

describe("transactions of this process's own sockets", () => {
  it("are not told, whether the socket was there before the watcher or not, until it is closed; all others are", async () => {
    const { netns, first, watch, before } = await watched("own", (netns) => ElementSocket.open(netns));
    const second = listen(netns);
    try {
      first.changeRaw([address("ours", 1)]);
      assert.deepEqual(await before(), []);
      using later = ElementSocket.open(netns);
      later.changeRaw([address("ours", 2)]);
      first.changeRaw([address("ours", 3)]);
      assert.deepEqual(await before(), []);
      await eventually(() => second.told.length >= 2);
      assert.deepEqual(second.told, ["inet theirs", "inet theirs"]);
    } finally {
      first.close();
      await Promise.all([watch.close(), second.watch.close()]);
    }
  });

  it("are told in another namespace, where the same port is somebody else's", async () => {
    // The kernel gives the first socket of a process in a namespace the process's own number.
    const here = await watched("here", (netns) => ElementSocket.open(netns));
    const there = await watched("there", (netns) => withNetns(netns, () => KernelSocket.open(NETLINK_NETFILTER)));
    const { bytes } = encodeSteps([address("ours", 1)]);
    try {
      assert.equal(there.first.port, process.pid);
      there.first.send(bytes, bytes.length);
      here.first.changeRaw([address("ours", 1)]);
      assert.deepEqual([await there.before(), await here.before()], [["inet ours"], []]);
    } finally {
      here.first.close();
      there.first.close();
      await Promise.all([here.watch.close(), there.watch.close()]);
    }
  });
});
