/**
 * What a trace makes of real faults: each is brought about by hand in the kernel of a node whose agent is held meanwhile, so that nobody repairs it,
 * and the trace has to name that hop, on that node.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { entering, run, tryRun } from "../../../lab/exec.ts";
import { underlayIp } from "../../../lab/cluster/names.ts";
import { podNetns } from "../../../lab/pods/pods.ts";
import type { TraceOptions } from "../../../lab/pods/trace.ts";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import type { Live, Trace } from "../../../src/cli/index.ts";
import { eventually } from "../../support/eventually.ts";
import { narrowTo } from "./narrow.ts";
import { remembered, useLab } from "./support.ts";

const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];

/** A trace takes a second, a few where somebody does not answer, and ten times that on a busy machine; a test has up to a dozen. */
const TEST_MS = 900_000;
const SOON = { timeoutMs: 60_000, intervalMs: 200 };

const words = ({ hops, wrong }: Trace): string =>
  `${JSON.stringify(wrong)}\n${hops.map((hop) => `${hop.node} ${hop.hop} ${hop.state}: ${hop.is}`).join("\n")}`;

describe("skylanectl trace", function () {
  this.timeout(TEST_MS);
  // On the ordinary path each place is seen, and each can be blocked by a rule.
  const the = useLab({ nodes: 3, agentConfig: { fastPath: "off" } });
  const device = (): string => `sky.${the().context.record.vni}`;

  before("pods on two nodes, two on the first", async () => {
    await the().addPod("node1", "a");
    await the().addPod("node1", "b");
    await the().addPod("node2", "c");
  });

  const ipOf = (pod: string, family: Family): string =>
    the()
      .pod(pod)
      .ips.find((ip) => ip.includes(":") === (family === 6)) as string;

  /** The VTEP address and MAC of a node, and its pod CIDR. */
  async function vtep(node: string, family: Family): Promise<{ ip: string; mac: string; cidr: string }> {
    const { networks } = await the().status(the().node(node));
    const cidr = networks[0]?.podCidrs.find((one) => one.includes(":") === (family === 6)) as string;
    return { ip: cidr.replace(/\/.*/, ""), mac: networks[0]?.mac as string, cidr };
  }

  const ip = (node: string, ...args: string[]): Promise<string> => the().exec(node, "ip", ...args);
  const inPod = (pod: string, ...args: string[]): Promise<string> =>
    run(entering({ netns: podNetns(the().context, the().pod(pod)) }, "ip", args));

  const agents = (node: string, signal: string): Promise<string> =>
    the().exec(node, "pkill", signal, "-f", "skylane-agent.cjs");

  /** Holds a node's agent while something is done, and has it repair what is left of that. */
  async function held(node: string, work: () => Promise<void>): Promise<void> {
    await remembered(the(), node);
    await agents(node, "-STOP");
    try {
      await work();
    } finally {
      await agents(node, "-CONT");
      await eventually(async () => (await the().status(the().node(node))).networks.every(({ ready }) => ready), {
        timeoutMs: 60_000,
        message: `${node} is not as it was`,
      });
    }
  }

  /** What a trace names first; an agent of a busy node may answer too late once. */
  function names(
    from: string,
    to: string,
    wanted: { node: string; hop: string },
    options: TraceOptions = {},
  ): Promise<NonNullable<Trace["wrong"]>> {
    return eventually(
      async () => {
        // What is not answered need not be waited for long: something else is wrong.
        const found = await the().trace(from, to, { options: ["--timeout=300"], ...options });
        const { wrong } = found;
        assert.deepEqual(wrong && { node: wrong.node, hop: wrong.hop }, wanted, words(found));
        for (const text of [wrong?.means, wrong?.cure]) assert.ok(text, "it says what follows, and what to do");
        return wrong as NonNullable<Trace["wrong"]>;
      },
      { ...SOON, message: `${wanted.hop} on ${wanted.node} is not named` },
    );
  }

  const fine = (from: string, to: string, options: TraceOptions = {}): Promise<Trace> =>
    eventually(
      async () => {
        const found = await the().trace(from, to, options);
        const bad = found.hops.filter(({ state }) => state !== "ok");
        assert.deepEqual(bad, [], words(found));
        assert.ok(found.ok && found.whole);
        return found;
      },
      { ...SOON, message: `${from} → ${to} is not fine` },
    );

  for (const family of FAMILIES) {
    it(`finds nothing wrong between pods of two nodes, nor of one (IPv${family})`, async () => {
      const { way, hops, from, to } = await fine("a", "c", { family });
      assert.equal(way, "tunnel");
      assert.deepEqual([from.pod, from.node, to.pod, to.node], ["default/a", "node1", "default/c", "node2"]);
      assert.deepEqual([...new Set(hops.map(({ node }) => node))], ["node1", "node2"]);
      for (const hop of ["pod.route", "route", "neighbour", "fdb", "underlay", "tunnel", "agreement", "firewall"])
        assert.ok(
          hops.some((one) => one.hop === hop),
          `${hop} is among the hops`,
        );
      assert.equal((await fine("a", "b", { family })).way, "here");
    });

    it(`names a route, a neighbour entry and an FDB entry that are gone or wrong (IPv${family})`, async () => {
      const peer = await vtep("node2", family);
      await held("node1", async () => {
        const flag = `-${family}`;
        await ip("node1", flag, "route", "del", peer.cidr, "dev", device());
        await names("a", "c", { node: "node1", hop: "route" }, { family });
        await ip("node1", flag, "route", "add", "blackhole", peer.cidr);
        await names("a", "c", { node: "node1", hop: "route" }, { family });
        await ip("node1", flag, "route", "del", "blackhole", peer.cidr);
        await ip("node1", flag, "route", "add", peer.cidr, "via", peer.ip, "dev", device(), "proto", "83", "onlink");
        await ip(
          "node1",
          "neigh",
          "replace",
          peer.ip,
          "lladdr",
          "02:00:00:00:00:09",
          "dev",
          device(),
          "nud",
          "permanent",
        );
        await names("a", "c", { node: "node1", hop: "neighbour" }, { family });
        await ip("node1", "neigh", "del", peer.ip, "dev", device());
        await names("a", "c", { node: "node1", hop: "neighbour" }, { family });
        await ip("node1", "neigh", "replace", peer.ip, "lladdr", peer.mac, "dev", device(), "nud", "permanent");
        await the().exec("node1", "bridge", "fdb", "del", peer.mac, "dev", device(), "self");
        await names("a", "c", { node: "node1", hop: "fdb" }, { family });
        await the().exec(
          "node1",
          "bridge",
          "fdb",
          "add",
          peer.mac,
          "dev",
          device(),
          "dst",
          underlayIp(3, 4),
          "self",
          "permanent",
        );
        const { is } = await names("a", "c", { node: "node1", hop: "fdb" }, { family });
        assert.match(is, new RegExp(underlayIp(3, 4).replaceAll(".", "\\.")));
      });
    });

    it(`names what is wrong where packets arrive: the pod's route, its link, the pod that is not there (IPv${family})`, async () => {
      const target = ipOf("c", family);
      await held("node2", async () => {
        await ip("node2", `-${family}`, "route", "del", target);
        await names("a", "c", { node: "node2", hop: "destination.route" }, { family });
      });
      await inPod("c", "address", "del", `${target}/${family === 4 ? 32 : 128}`, "dev", "eth0");
      try {
        await names("a", "c", { node: "node2", hop: "destination.address" }, { family });
      } finally {
        await inPod(
          "c",
          "address",
          "add",
          `${target}/${family === 4 ? 32 : 128}`,
          "dev",
          "eth0",
          ...(family === 6 ? ["nodad"] : []),
        );
      }
      const nobody = target.replace(/[0-9a-f]+$/, family === 4 ? "250" : "fa");
      await names("a", nobody, { node: "node2", hop: "destination.pod" }, { family });
    });

    it(`names a pod's default route that is gone (IPv${family})`, async () => {
      const gateway = family === 4 ? "169.254.1.1" : "fe80::1";
      await inPod("a", `-${family}`, "route", "del", "default");
      try {
        const { cure } = await names("a", "c", { node: "node1", hop: "pod.route" }, { family });
        assert.match(cure ?? "", /delete the pod/);
      } finally {
        await inPod("a", `-${family}`, "route", "add", "default", "via", gateway, "dev", "eth0");
      }
    });
  }

  it("names a tunnel device that is down where packets arrive", () =>
    held("node2", async () => {
      await ip("node2", "link", "set", device(), "down");
      await names("a", "c", { node: "node2", hop: "destination.device" });
    }));

  it("names an underlay route that leads nowhere", async () => {
    await ip("node1", "route", "add", "unreachable", `${underlayIp(2, 4)}/32`);
    try {
      await names("a", "c", { node: "node1", hop: "underlay" });
    } finally {
      await ip("node1", "route", "del", "unreachable", `${underlayIp(2, 4)}/32`);
    }
  });

  it("names a peer that the packet filter does not let in", () =>
    held("node2", async () => {
      const set = `peers4_${the().context.record.vni}`;
      await the().exec("node2", "nft", "delete", "element", "inet", "skylane", set, `{ ${underlayIp(1, 4)} }`);
      await names("a", "c", { node: "node2", hop: "firewall" });
    }));

  it("names a port that is closed on the way by somebody else, where all else is right", async () => {
    const table = "table inet faults { chain in { type filter hook input priority -400\nudp dport 4789 drop\n}\n}\n";
    await run(the().enter("node2", "nft", "-f", "-"), { input: table });
    try {
      await names("a", "c", { node: "node1", hop: "tunnel" });
    } finally {
      await the().exec("node2", "nft", "delete", "table", "inet", "faults");
    }
  });

  it("names an underlay that carries less than the MTU says, whatever family is traced", async () => {
    await using _narrow = await narrowTo(the(), 2, [1], 1400);
    for (const family of FAMILIES) {
      const { is } = await names("a", "c", { node: "node1", hop: "tunnel" }, { family });
      assert.match(is, /packets of 1450 bytes are lost/);
    }
  });

  it("names a node that does not forward", () =>
    held("node1", async () => {
      await the().exec("node1", "sysctl", "-qw", "net.ipv4.ip_forward=0");
      await names("a", "c", { node: "node1", hop: "source.forwarding" });
    }));

  it("names masquerading where there should be none", async () => {
    const table = `table ip faults { chain out { type nat hook postrouting priority srcnat - 10\noifname "${device()}" masquerade\n}\n}\n`;
    await run(the().enter("node1", "nft", "-f", "-"), { input: table });
    try {
      await eventually(
        async () => {
          // Connections are remembered for some seconds only, and of these two pods by no other test.
          await the().pingFrom(the().pod("b"), ipOf("c", 4));
          const { wrong } = await the().trace("b", "c", { family: 4 });
          return wrong?.node === "node1" && wrong.hop === "source.conntrack" && wrong.is.includes(ipOf("b", 4));
        },
        { ...SOON, message: "the masqueraded connection is not named" },
      );
      const options = ["--protocol=icmp", "--timeout=10000"];
      const { live } = await the().trace("b", "c", { family: 4, live: { protocol: "icmp" }, options });
      const { ip: seenAs } = await vtep("node1", 4);
      const notes = live?.hops.flatMap(({ node, note = "" }) => (note.includes(seenAs) ? [node] : []));
      assert.ok(notes?.includes("node2"), JSON.stringify(live));
    } finally {
      await the().exec("node1", "nft", "delete", "table", "ip", "faults");
    }
  });

  it("shows what becomes of what is sent to a Service, and names one that nobody translates", async () => {
    const options = ["--port=80", "--protocol=udp", "--service=10.96.0.7:80"];
    const hop = async () => {
      const { hops } = await the().trace("a", "c", { family: 4, options });
      return hops.find((one) => one.hop === "source.service");
    };
    // What nobody answers is remembered for half a minute, and longer than a trace takes.
    const send = (): Promise<string> => the().execInPod("a", "bash", "-c", "echo >/dev/udp/10.96.0.7/80");
    assert.match((await hop())?.is ?? "", /no connection to it is followed/);
    await the().exec(
      "node1",
      "nft",
      `table ip services { chain c { type nat hook prerouting priority dstnat; ip daddr 10.96.0.7 udp dport 80 dnat to ${ipOf("c", 4)}:8080; }; }`,
    );
    try {
      await eventually(async () => {
        await send();
        const found = await hop();
        return found?.state === "ok" && found.is.includes(`to ${ipOf("c", 4)}:8080`);
      }, SOON);
    } finally {
      await the().exec("node1", "nft", "delete table ip services");
    }
    await eventually(
      async () => {
        await send();
        return (await hop())?.state === "wrong";
      },
      { ...SOON, message: "a Service's address that nobody translates is not named" },
    );
  });

  it("asks for both ends, and says which it does not know", async () => {
    await assert.rejects(the().trace("a", "nobody"), /no pod/);
    const program = join(the().context.binDir, "skylanectl");
    const there = (...args: string[]) => tryRun(the().enter("node3", program, "trace", ...args));
    const { status, stderr } = await there(ipOf("a", 4), ipOf("c", 4));
    assert.equal(status, 1);
    assert.match(stderr, /run the trace on the node of the first/);
    assert.equal((await there("default/nobody", ipOf("c", 4))).status, 1);
    assert.equal((await there("--port=0", "a", "b")).status, 2);
  });

  it("tells one node's half, and how to come by the other", async () => {
    const program = join(the().context.binDir, "skylanectl");
    const { status, stdout, stderr } = await tryRun(
      the().enter("node1", program, "trace", "--timeout=5000", "a", ipOf("c", 4)),
    );
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /the other half, on node2: skylanectl trace/);
  });

  describe("--live", () => {
    const live = async (from: string, to: string, options: TraceOptions & Required<Pick<TraceOptions, "live">>) => {
      const { protocol, port } = options.live;
      const words = [`--protocol=${protocol}`, ...(port === undefined ? [] : [`--port=${port}`])];
      const found = await the().trace(from, to, { ...options, options: [...words, ...(options.options ?? [])] });
      return { found, sent: found.live as Live };
    };
    before("pods that no fault has met", async () => {
      await the().addPod("node1", "x");
      await the().addPod("node1", "y");
      await the().addPod("node2", "z");
    });

    const ICMP = { protocol: "icmp" };
    /** What is answered is not waited for so long. */
    const PATIENT = ["--timeout=10000"];
    const inWords = (sent: Live): string =>
      `${sent.is} ${sent.missing ?? ""}\n${sent.hops.map((hop) => `${hop.node} ${hop.hop} ${hop.packets ?? "?"} ${hop.place} ${hop.note ?? ""}`).join("\n")}`;
    const tables = async (): Promise<string[]> =>
      (await Promise.all(["node1", "node2"].map((node) => the().exec(node, "nft", "list", "tables")))).flatMap((text) =>
        text.split("\n").filter((line) => line.includes("skylane_trace")),
      );

    afterEach("nothing is left behind", async () => assert.deepEqual(await tables(), []));

    for (const family of FAMILIES)
      it(`follows a packet through both nodes and its answer back (IPv${family})`, async () => {
        const { sent } = await live("x", "z", { family, live: ICMP, options: PATIENT });
        assert.deepEqual(
          [sent.ok, sent.arrived, sent.answered, sent.missing],
          [true, true, true, undefined],
          inWords(sent),
        );
        assert.deepEqual([...new Set(sent.hops.map(({ packets }) => packets))], [sent.sent], inWords(sent));
        assert.match(sent.hops.find(({ hop }) => hop === "source.device")?.place ?? "", new RegExp(`to ${device()}`));
        const { sent: here } = await live("x", "y", { family, live: { protocol: "tcp", port: 81 }, options: PATIENT });
        assert.ok(here.ok, inWords(here));
        const { sent: closed } = await live("x", "z", {
          family,
          live: { protocol: "udp", port: 81 },
          options: PATIENT,
        });
        assert.deepEqual([closed.ok, closed.answered], [true, true], inWords(closed));
        assert.match(closed.is, /answers port unreachable/);
      });

    it("names a chain and a rule that drop the packet, or its answer, on either node", async () => {
      const table = `table inet faults { chain forwarded { type filter hook forward priority 10
ip saddr ${ipOf("x", 4)} ip daddr ${ipOf("z", 4)} counter drop comment "somebody's"
}
}
`;
      for (const [node, from, to, told] of [
        ["node2", "x", "z", /filter of node2 drops it in chain forwarded of table inet faults, by: .*somebody's/],
        ["node1", "x", "z", /filter of node1 drops it in chain forwarded of table inet faults/],
        ["node1", "z", "x", /filter of node1 drops its answer in chain forwarded of table inet faults/],
      ] as const) {
        await run(the().enter(node, "nft", "-f", "-"), { input: table });
        try {
          const { sent } = await live(from, to, { family: 4, live: ICMP, options: ["--timeout=300"] });
          assert.match(sent.is, told, inWords(sent));
          assert.equal(sent.ok, false);
        } finally {
          await the().exec(node, "nft", "delete", "table", "inet", "faults");
        }
      }
    });

    it("says between which nodes the underlay loses it, in which direction", async () => {
      // At the card, before all that a packet meets on its way through the node, as if it had not come.
      const rule = `ip saddr ${underlayIp(1, 4)} udp dport 4789 drop`;
      const table = `table netdev faults { chain in { type filter hook ingress device "eth0" priority 0\n${rule}\n}\n}\n`;
      await run(the().enter("node2", "nft", "-f", "-"), { input: table });
      try {
        const { sent } = await live("x", "z", { family: 4, live: ICMP, options: ["--timeout=300"] });
        assert.deepEqual(
          [sent.last?.hop, sent.next?.hop, sent.sent],
          ["source.underlay", "destination.underlay", 3],
          inWords(sent),
        );
        assert.match(sent.is, /seen last on node1.* expected next on node2.* between node1 and node2 loses VXLAN/);
        const { sent: back } = await live("z", "x", { family: 4, live: ICMP, options: ["--timeout=300"] });
        assert.deepEqual([back.arrived, back.last?.hop], [true, "answer.destination.underlay"], inWords(back));
        assert.match(back.is, /Its answer was seen last on node1.* between node1 and node2 loses VXLAN/);
      } finally {
        await the().exec("node2", "nft", "delete", "table", "netdev", "faults");
      }
    });

    it("counts its own packets alone, whatever else the two pods exchange", async () => {
      const [ip] = [ipOf("z", 4)];
      const argv = entering({ netns: podNetns(the().context, the().pod("x")) }, "ping", ["-i", "0.002", ip]);
      const busy = spawn(argv[0] as string, argv.slice(1), { stdio: ["ignore", "pipe", "ignore"] });
      try {
        await once(busy.stdout, "data", { signal: AbortSignal.timeout(60_000) });
        const { sent } = await live("x", "z", { family: 4, live: ICMP, options: PATIENT });
        assert.ok(sent.ok, inWords(sent));
        assert.deepEqual([...new Set(sent.hops.map(({ packets }) => packets))], [sent.sent], inWords(sent));
      } finally {
        busy.kill();
        await once(busy, "close");
      }
    });

    it("is over with its table when it is killed, and tells why it cannot send", async () => {
      const program = join(the().context.binDir, "skylanectl");
      const mark = "0102030405060708090a0b0c0d0e";
      const words = ["trace", ipOf("x", 4), ipOf("z", 4), "--live", `--mark=${mark}`, "--output=json"];
      const [command = "", ...args] = the().enter("node2", program, ...words);
      const watching = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], env: the().context.env });
      await once(watching.stdout, "data", { signal: AbortSignal.timeout(60_000) });
      assert.equal((await tables()).length, 1);
      await the().exec("node2", "pkill", "-KILL", "-f", mark);
      await once(watching, "close");
      await eventually(async () => (await tables()).length === 0, SOON);
      await inPod("x", "-4", "route", "del", "default");
      try {
        const { sent } = await live("x", "z", { family: 4, live: ICMP });
        assert.equal(sent.sent, 0);
        assert.match(sent.is, /kernel does not send it: .*(ENETUNREACH|EHOSTUNREACH)/);
      } finally {
        await inPod("x", "-4", "route", "add", "default", "via", "169.254.1.1", "dev", "eth0");
      }
    });

    it("shows the sender's part where it is run on that node alone, and refuses where nothing can be sent", async () => {
      const program = join(the().context.binDir, "skylanectl");
      const on = (node: string, ...args: string[]) =>
        tryRun(the().enter(node, program, "trace", "--live", ...args), { env: the().context.env });
      const half = await on("node1", "--timeout=300", ipOf("x", 4), ipOf("z", 4));
      assert.match(
        half.stdout,
        /source\.underlay +1 [^]*kubectl skylane trace --live watches on both nodes/,
        half.stderr,
      );
      assert.match((await on("node2", ipOf("x", 4), ipOf("z", 4))).stderr, /run trace --live on node1/);
      assert.equal((await on("node1", "--mark=12", ipOf("x", 4), ipOf("z", 4))).status, 2);
      assert.equal((await on("node1", "--network=blue", "x", "y")).status, 2);
    });
  });

  it("names a node that is off", async () => {
    await the().addPod("node3", "d");
    await fine("a", "d");
    await the().killNode("node3");
    try {
      await names("a", "d", { node: "node1", hop: "underlay" });
    } finally {
      await the().restartNode("node3", { pods: false });
    }
  });
});

describe("skylanectl trace where policies deny", function () {
  this.timeout(TEST_MS);
  const the = useLab({ nodes: 2 });
  const DENY = JSON.stringify({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "closed", namespace: "default" },
    spec: { podSelector: { matchLabels: { app: "web" } }, policyTypes: ["Ingress"] },
  });

  it("names the policy's verdict on the destination's node", async () => {
    await the().addPod("node1", "front", { labels: { app: "front" } });
    await the().addPod("node2", "web", { labels: { app: "web" } });
    await the().applyPolicies(DENY);
    const wrong = await eventually(
      async () => {
        const { wrong: one } = await the().trace("front", "web", { options: ["--port=80"] });
        return one?.hop === "policy.ingress" && one.is.includes("denied") && one;
      },
      { timeoutMs: 60_000, intervalMs: 500, message: "the trace does not name the policy" },
    );
    assert.equal(wrong.node, "node2");
    const port = { protocol: "tcp", port: 80 };
    const { live } = await the().trace("front", "web", { options: ["--port=80", "--timeout=300"], live: port });
    assert.deepEqual([live?.ok, live?.arrived], [false, false]);
    assert.match(live?.is ?? "", /packet filter of node2 drops it in chain \S+ of table inet skylane.*, by: .*drop/);
    const back = await the().trace("web", "front", { options: ["--port=80", "--timeout=5000"] });
    assert.ok(back.ok, `the other way is open: ${JSON.stringify(back.wrong)}`);
  });
});

describe("skylanectl trace with direct routing", function () {
  this.timeout(TEST_MS);
  const the = useLab({ nodes: 2, agentConfig: { directRouting: "auto" } });

  it("follows the direct route, and names it where it is gone", async () => {
    await the().addPod("node1", "a");
    await the().addPod("node2", "c");
    await eventually(async () => (await the().trace("a", "c")).way === "direct", {
      timeoutMs: 60_000,
      intervalMs: 500,
      message: "the nodes do not route directly",
    });
    for (const family of FAMILIES)
      await eventually(
        async () => {
          const found = await the().trace("a", "c", { family });
          assert.ok(found.ok && found.whole, JSON.stringify(found.wrong));
          return found.way === "direct";
        },
        { ...SOON, message: `IPv${family} is not traced` },
      );
    const { live } = await the().trace("a", "c", { live: { protocol: "icmp" }, options: ["--timeout=10000"] });
    assert.ok(live?.ok && live.hops.length === 12, JSON.stringify(live));
    await remembered(the(), "node1");
    await the().exec("node1", "pkill", "-STOP", "-f", "skylane-agent.cjs");
    try {
      const cidr = (await the().status(the().node("node2"))).networks[0]?.podCidrs[0] as string;
      await the().exec("node1", "ip", "route", "replace", "blackhole", cidr);
      const { wrong } = await the().trace("a", "c", { family: 4 });
      assert.deepEqual([wrong?.node, wrong?.hop], ["node1", "route"]);
    } finally {
      await the().exec("node1", "pkill", "-CONT", "-f", "skylane-agent.cjs");
    }
  });
});

describe("skylanectl trace in pod networks", function () {
  this.timeout(TEST_MS);
  const the = useLab({ nodes: 2 });
  const options = (network: string): TraceOptions => ({ ifname: "net1", options: [`--network=${network}`] });

  before("a routed and a bridged one", async () => {
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/16", "fd50::/64"] });
    await the().addNetwork("lan", { cidrs: ["10.80.0.0/24"], mode: "Bridged" });
    for (const network of ["blue", "lan"])
      for (const number of [1, 2])
        await the().addPod(`node${number}`, `${network}${number}`, { annotations: { [NETWORKS_ANNOTATION]: network } });
  });

  const right = (network: string, family: Family): Promise<Trace> =>
    eventually(
      async () => {
        const found = await the().trace(`${network}1`, `${network}2`, { ...options(network), family });
        if (!found.ok || !found.whole) throw new Error(JSON.stringify(found.wrong ?? found.missing));
        return found;
      },
      { timeoutMs: 60_000, intervalMs: 500, message: `${network} is not traced` },
    );

  const inPod = (pod: string, ...args: string[]): Promise<string> =>
    run(entering({ netns: podNetns(the().context, the().pod(pod)) }, "ip", args));

  const names = (network: string, to: string, wanted: { node: string; hop: string }): Promise<unknown> =>
    eventually(
      async () => {
        const { wrong } = await the().trace(`${network}1`, to, options(network));
        assert.deepEqual(wrong && { node: wrong.node, hop: wrong.hop }, wanted);
        return true;
      },
      { ...SOON, message: `${wanted.hop} on ${wanted.node} is not named` },
    );

  it("finds the namespaces of routed ones where they have no names, as in the agent's container", async () => {
    const [source, target] = [the().ipsOf("blue1", "net1")[0], the().ipsOf("blue2", "net1")[0]];
    const program = join(the().context.binDir, "skylanectl");
    const script = `mount -t tmpfs tmpfs /run/netns && ${program} trace ${source} ${target} --network blue -o json`;
    const argv = the().enter("node1", "unshare", "--mount", "sh", "-c", script);
    const { stdout, stderr } = await tryRun(argv, { env: the().context.env });
    const told = JSON.parse(stdout || JSON.stringify({ stderr })) as Trace;
    const ofNode = told.hops.filter(({ hop }) => !hop.startsWith("pod."));
    assert.ok(ofNode.length > 3, words(told));
    assert.deepEqual(
      ofNode.filter(({ state }) => state === "wrong").map(({ hop }) => hop),
      [],
      words(told),
    );
    assert.ok(
      ofNode.some(({ hop, state }) => hop === "fdb" && state === "ok"),
      words(told),
    );
  });

  it("follows routed ones, and names a pod's address and a pod's route that are gone", async () => {
    for (const family of FAMILIES) assert.equal((await right("blue", family)).way, "tunnel");
    const [target] = the().ipsOf("blue2", "net1");
    await inPod("blue2", "address", "del", `${target}/32`, "dev", "net1");
    await names("blue", "blue2", { node: "node2", hop: "destination.address" });
    await inPod("blue1", "-4", "route", "flush", "dev", "net1", "10.50.0.0/16");
    await names("blue", "blue2", { node: "node1", hop: "pod.route" });
  });

  it("follows bridged ones, and names an address that nobody there has", async () => {
    assert.equal((await right("lan", 4)).way, "bridge");
    await names("lan", "10.80.0.200", { node: "node1", hop: "bridge.neighbour" });
  });
});
