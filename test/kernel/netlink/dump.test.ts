/** Lists that change while they are read: the kernel says so, and they are read again. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Connection } from "../../../src/netlink/transport/connection.ts";
import { Flags } from "../../../src/netlink/constants.ts";
import { DumpInterrupted, type LinkSpec, Rtnl } from "../../../src/netlink/index.ts";
import { addresses, links, routes } from "../../../src/netlink/transport/questions.ts";
import { testNamespace } from "../support/netns.ts";

const DEVICES = 300;

/** A connection that counts interrupted answers, and can pretend that all are. */
function watched(connection: Connection, pretend: boolean): { connection: Connection; interrupted: () => number } {
  let interrupted = 0;
  const proxy = new Proxy(connection, {
    get(target, key) {
      if (key !== "exchange") {
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === "function" ? value.bind(target) : value;
      }
      const exchange: Connection["exchange"] = (doing, first, last, handle) =>
        target.exchange(doing, first, last, (message) => {
          if (pretend) message.flags |= Flags.DUMP_INTR;
          if (message.flags & Flags.DUMP_INTR) interrupted++;
          return handle(message);
        });
      return exchange;
    },
  });
  return { connection: proxy, interrupted: () => interrupted };
}

describe("dumps", () => {
  const ns = testNamespace("dump");
  let child: ChildProcess | undefined;

  before(() => {
    using rtnl = Rtnl.open({ netns: ns.path });
    const spec = (i: number): LinkSpec => ({ kind: "bridge", name: `still${i}` });
    const failures = rtnl.executeAll(
      Array.from({ length: DEVICES }, (_, i) => ({ op: "add", kind: "link", link: spec(i) })),
    );
    assert.deepEqual(failures, []);
    const index = rtnl.link("still0")?.index as number;
    rtnl.execute({ op: "set", kind: "link", link: { index, up: true } });
    const more = rtnl.executeAll(
      Array.from({ length: 2_000 }, (_, i) => ({
        op: "add",
        kind: "address",
        address: { ifindex: index, ip: `10.${64 + (i >> 8)}.${i & 255}.1`, prefix: 32 },
      })),
    );
    assert.deepEqual(more, []);
  });

  after(async () => {
    if (!child || child.exitCode !== null) return;
    const ended = once(child, "exit");
    child.stdin?.end();
    await ended;
  });

  it("are complete although devices come and go while they are read", async function () {
    this.timeout(30_000);
    child = spawn(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", `${import.meta.dirname}/../support/churn.ts`, ns.path],
      {
        stdio: ["pipe", "pipe", "inherit"],
      },
    );
    await once(child.stdout!, "data");
    using real = Connection.open({ netns: ns.path, timeoutMs: 5_000 });
    const { connection, interrupted } = watched(real, false);
    const still = (names: string[]) => names.filter((name) => name.startsWith("still"));
    const end = performance.now() + 20_000;
    let lists = 0;
    // Until interruptions have been seen often enough to show that they are dealt with.
    while (interrupted() < 20 && performance.now() < end) {
      lists++;
      const names = still(links(connection).map((link) => link.name));
      assert.equal(names.length, DEVICES);
      assert.equal(new Set(names).size, DEVICES);
      assert.equal(addresses(connection, { family: 4 }).filter((each) => each.prefix === 32).length, 2_000);
    }
    assert.ok(interrupted() >= 20, `only ${interrupted()} of ${lists} lists were interrupted`);
    assert.equal(child.exitCode, null);
  });

  it("end in an error that names them when they never come to rest", () => {
    using real = Connection.open({ netns: ns.path, timeoutMs: 5_000 });
    const { connection } = watched(real, true);
    assert.throws(
      () => routes(connection, { family: 4 }),
      (error: unknown) => {
        assert.ok(error instanceof DumpInterrupted);
        assert.match(error.message, /^listing IPv4 routes was interrupted 16 times/);
        return true;
      },
    );
  });
});
