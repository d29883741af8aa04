/** Which packets count as answers, and which as requests of other agents: those of whoever was asked, with what was sent to it. */
import assert from "node:assert/strict";
import { Channel } from "../../../src/probes/channel.ts";
import { Echo, sockaddrOf, withNetns } from "../../../src/sys/index.ts";
import { eventually } from "../../support/eventually.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";

describe("requests of probes and their answers", () => {
  let near: TestNamespace;
  let far: TestNamespace;
  before(() => {
    near = testNamespace("near");
    far = testNamespace("far");
    near.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", far.name);
    for (const [ns, host] of [
      [near, 1],
      [far, 2],
    ] as const) {
      ns.exec("ip", "addr", "add", `192.0.2.${host}/24`, "dev", "eth0");
      ns.exec("ip", "addr", "add", `2001:db8::${host}/64`, "dev", "eth0", "nodad");
      ns.exec("ip", "link", "set", "eth0", "up");
    }
  });

  const heard: string[] = [];
  const open = (ns: TestNamespace): Channel =>
    withNetns(ns.path, () => Channel.open((from, { kind }) => heard.push(`${kind} from ${from}`)));

  /** What becomes of a request. */
  async function ask(channel: Channel, to: string, size = 0): Promise<number | string> {
    let outcome: number | string | undefined;
    channel.send(
      { ip: to, sockaddr: sockaddrOf(to) },
      { kind: "probe" },
      (ms, error) => (outcome = ms ?? error?.code ?? "lost"),
      size,
    );
    return await eventually(() => {
      channel.poll();
      return outcome;
    });
  }

  for (const [family, to, from] of [
    [4, "192.0.2.2", "192.0.2.1"],
    [6, "2001:db8::2", "2001:db8::1"],
  ] as const)
    it(`measures how long the other kernel takes, small and large, and is heard there, IPv${family}`, async () => {
      using channel = open(near);
      using other = open(far);
      heard.length = 0;
      for (const size of [0, 1_500]) {
        const ms = await ask(channel, to, size);
        assert.ok(typeof ms === "number" && ms > 0 && ms < 1_000, `${ms}`);
      }
      assert.equal(await ask(channel, to, 1_501), "EMSGSIZE");
      assert.equal(await ask(channel, to.replace(/2$/, "9")), "lost");
      other.poll();
      assert.deepEqual(heard, [`probe from ${from}`, `probe from ${from}`]);
    });

  it("does not count an answer that comes from another address than the one asked", async () => {
    using channel = open(near);
    assert.equal(typeof (await ask(channel, "192.0.2.2")), "number");
    near.exec(
      "nft",
      "add table ip forged; add chain ip forged in { type filter hook prerouting priority -400; }; add rule ip forged in icmp type echo-reply ip saddr set 192.0.2.3",
    );
    try {
      assert.equal(await ask(channel, "192.0.2.2"), "lost");
    } finally {
      near.exec("nft", "delete table ip forged");
    }
    assert.equal(typeof (await ask(channel, "192.0.2.2")), "number");
  });

  it("takes no other echo of the machine for its own, nor that of another process of its kind", async () => {
    using channel = open(near);
    using another = open(near);
    using other = open(far);
    heard.length = 0;
    await using echo = withNetns(near.path, () => Echo.open(4));
    assert.equal((await echo.ask({ to: "192.0.2.2", timeoutMs: 5_000 })).answered, true);
    other.poll();
    assert.deepEqual(heard, [], "an echo request without the magic word is nobody's");
    assert.equal(typeof (await ask(another, "192.0.2.2")), "number");
    let done = false;
    channel.send({ ip: "192.0.2.9", sockaddr: sockaddrOf("192.0.2.9") }, { kind: "probe" }, () => (done = true));
    channel.poll();
    assert.equal(done, false);
  });
});
