/** One question, one answer: nothing late and nothing of anybody else's is taken for it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Connection } from "../../../src/netlink/transport/connection.ts";
import { NLMSG } from "../../../src/netlink/constants.ts";
import { NetlinkTimeout, Rtnl } from "../../../src/netlink/index.ts";
import { link } from "../../../src/netlink/transport/questions.ts";
import { MessageWriter } from "../../../src/netlink/transport/writer.ts";
import { KernelSocket, SysError, withNetns } from "../../../src/sys/index.ts";
import { testNamespace } from "../support/netns.ts";

/** Ports of the rtnetlink sockets of the calling thread's namespace. */
const ports = () =>
  readFileSync("/proc/thread-self/net/netlink", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter((words) => words[1] === "0" && words[2] !== "0")
    .map((words) => Number(words[2]));

describe("conversation with the kernel", () => {
  const ns = testNamespace("talk");

  it("times out when no answer comes, and goes on with a new socket in the same namespace", () => {
    using connection = Connection.open({ netns: ns.path, timeoutMs: 50 });
    const before = withNetns(ns.path, ports);
    assert.equal(before.length, 1);
    const seq = connection.nextSeq();
    connection.writer.reset();
    // The kernel answers a no-operation only when asked to.
    connection.writer.message(NLMSG.NOOP, 1, seq, () => undefined);
    assert.throws(
      () => connection.exchange("waiting in vain", seq, seq, () => true),
      (error: unknown) => {
        assert.ok(error instanceof NetlinkTimeout);
        assert.equal(error.message, "no answer from the kernel within 50 ms when waiting in vain");
        return true;
      },
    );
    assert.equal(link(connection, "lo")?.name, "lo");
    const after = withNetns(ns.path, ports);
    assert.equal(after.length, 1);
    assert.notDeepEqual(after, before);
  });

  it("passes over answers that somebody else sent to its port", () => {
    using connection = Connection.open({ netns: ns.path, timeoutMs: 1_000 });
    const [port] = withNetns(ns.path, ports) as [number];
    using forger = withNetns(ns.path, () => KernelSocket.open(0));
    const writer = new MessageWriter();
    for (let seq = 1; seq <= 3; seq++) {
      writer.reset();
      writer.message(NLMSG.ERROR, 0, seq, () => {
        writer.u32(-1);
        for (let i = 0; i < 4; i++) writer.u32(0);
      });
      writer.buffer.writeUInt32LE(port, 12);
      forger.send(writer.buffer, writer.length, port);
    }
    assert.equal(link(connection, "lo")?.name, "lo");
    assert.equal(link(connection, 1)?.name, "lo");
  });

  it("stays in the namespace in which it was opened, also after that is unmounted", () => {
    using gone = testNamespace("gone");
    using rtnl = Rtnl.open({ netns: gone.path });
    rtnl.execute({ op: "add", kind: "link", link: { kind: "bridge", name: "inside" } });
    gone.delete();
    assert.ok(rtnl.link("inside"));
    using here = Rtnl.open();
    assert.equal(here.link("inside"), undefined);
  });

  it("refuses a closed connection and a namespace that is not there", () => {
    const rtnl = Rtnl.open({ netns: ns.path });
    rtnl.close();
    rtnl.close();
    assert.throws(() => rtnl.links(), /closed/);
    assert.throws(
      () => Rtnl.open({ netns: "/run/netns/no-such" }),
      (error: unknown) => {
        assert.ok(error instanceof SysError);
        assert.equal(error.code, "ENOENT");
        return true;
      },
    );
  });

  it("gives a device no time to be half there for a second question", () => {
    using rtnl = Rtnl.open({ netns: ns.path });
    rtnl.execute({
      op: "add",
      kind: "link",
      link: { kind: "veth", name: "v0", alias: "x", peer: { name: "v1", alias: "y" } },
    });
    assert.deepEqual([rtnl.link("v0")?.alias, rtnl.link("v1")?.alias], ["x", "y"]);
  });
});
