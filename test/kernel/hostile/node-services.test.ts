import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { initOf } from "../../../lab/cluster/context.ts";
import { entering, type Inside, run } from "../../../lab/exec.ts";
import { podNetns } from "../../../lab/pods/pods.ts";
import { HOST_MAC } from "../../../src/dataplane/pod-link/index.ts";
import { BROADCAST, frame, FrameSender, udp } from "../support/frames.ts";
import { useLab } from "../lab/support.ts";
import { attack } from "./support.ts";

const TOKEN = "let-prometheus-in";
/** Where the agent serves the node itself, and where it serves metrics to all. */
const [OWN_PORT, METRICS_PORT] = [9473, 9474];
/** More than the agent has room for. */
const MANY = 100;
const NODE_IPS = ["172.30.0.11", "fd30::11"];
/** Nobody has a reason to drop what comes here. */
const SENTINEL = 15_068;

/** Opens connections and says nothing on them, for as long as its input is open. Prints how many came about and how many did not. */
const IDLE = `
  const [port, count, ...ips] = process.argv.slice(1);
  const all = [];
  for (const host of ips)
    for (let n = 0; n < Number(count); n++)
      all.push(new Promise((done) => {
        const socket = require("node:net").connect({ host, port: Number(port) });
        socket.once("connect", () => done(1)).on("error", () => done(0)).resume();
        setTimeout(() => done(0), 5_000);
      }));
  Promise.all(all).then((done) => console.log(done.filter(Boolean).length + " of " + done.length));
  process.stdin.on("end", () => process.exit()).resume();`;

/** Asks for a page, with a token where there is one; prints the status or why there is none. */
const ASK = `
  const [url, token] = process.argv.slice(1);
  const headers = token ? { authorization: "Bearer " + token } : {};
  // not left to itself, as a connection that is kept alive would keep it
  const end = (said) => process.stdout.write(said, () => process.exit());
  fetch(url, { headers, signal: AbortSignal.timeout(20_000) }).then(
    async (answer) => end(answer.status + " " + ((await answer.text()).length > 0)),
    (error) => end(String(error.cause ?? error)));`;

/** Prints the port of each datagram that arrives. */
const LISTEN = `
  const { createSocket } = require("node:dgram");
  const [device, ...ports] = process.argv.slice(1);
  let left = ports.length;
  for (const port of ports) {
    const socket = createSocket({ type: "udp6", reuseAddr: true });
    socket.on("message", (_, { address }) => console.log(port + " from " + address));
    socket.bind(Number(port), () => {
      for (const group of ["ff02::1:2", "ff02::fb"]) socket.addMembership(group, "::%" + device);
      if (--left === 0) console.log("listening");
    });
  }
  process.stdin.on("end", () => process.exit()).resume();`;

/** Sends what a pod may think of to whoever listens on its link, and to the sentinel's port at last. */
const SHOUT = `
  const { createSocket } = require("node:dgram");
  const [device, node, last] = process.argv.slice(1);
  const four = createSocket("udp4"), six = createSocket("udp6");
  const send = (socket, port, to) => new Promise((done) => socket.send("x".repeat(300), port, to, done));
  four.bind(68, async () => {
    four.setBroadcast(true);
    six.bind(546, async () => {
      six.setMulticastInterface("::%" + device);
      for (let n = 0; n < 20; n++) {
        for (const [port, to] of [[67, "255.255.255.255"], [5353, "224.0.0.251"], [67, "224.0.0.1"]]) await send(four, port, to);
        for (const [port, to] of [[547, "ff02::1:2"], [5353, "ff02::fb"], [67, "ff02::1"]]) await send(six, port, to + "%" + device);
      }
      for (let n = 0; n < 20; n++) await send(four, Number(last), node);
      process.exit();
    });
  });`;

describe("what a hostile pod sends to its node's services", function () {
  this.timeout(300_000);
  const the = useLab({
    nodes: 2,
    agentConfig: { metrics: { listen: `:${METRICS_PORT}`, tokenFile: "/etc/skylane/metrics-token" } },
  });
  const children: ChildProcessByStdio<Writable, Readable, null>[] = [];
  const podSpace = (pod: string): Inside => ({ netns: podNetns(the().context, the().pod(pod)) });
  const nodeSpace = (node: string): Inside => ({ pid: initOf(the().node(node)) });

  /** Starts a script in a namespace; it ends with its input. Returns its lines. */
  function start(inside: Inside, script: string, ...args: string[]): { lines: Interface; end: () => Promise<void> } {
    const [command, ...rest] = entering(inside, process.execPath, ["-e", script, ...args]) as [string, ...string[]];
    const child = spawn(command, rest, { env: the().context.env, stdio: ["pipe", "pipe", "inherit"] });
    children.push(child);
    child.once("exit", () => child.stdout.destroy());
    const gone = once(child, "exit");
    return {
      lines: createInterface({ input: child.stdout }),
      end: async () => {
        child.stdin.end();
        await gone;
      },
    };
  }
  const ask = (from: Inside, url: string, token = ""): Promise<string> =>
    run(entering(from, process.execPath, ["-e", ASK, url, token]), { env: the().context.env }).then((text) =>
      text.trim(),
    );

  /** The agent is ready for those who ask it on the node. */
  async function readyOnNode(): Promise<void> {
    const { ready } = await the().status(the().node("node1"), 20_000);
    assert.ok(ready.ready, JSON.stringify(ready));
    for (const path of ["healthz", "readyz"])
      assert.equal(await ask(nodeSpace("node1"), `http://127.0.0.1:${OWN_PORT}/${path}`), "200 true", path);
  }

  before("a hostile pod and two others", async () => {
    for (const node of ["node1", "node2"])
      writeFileSync(the().context.files.path("disks", node, "etc/skylane/metrics-token"), TOKEN, { mode: 0o600 });
    await the().addPod("node1", "mallory");
    await the().addPod("node1", "alice");
    await the().addPod("node2", "bob");
  });
  after(() => {
    for (const child of children) child.kill("SIGKILL");
  });

  attack("pod", `opens ${MANY} connections to each of the node's addresses on port ${OWN_PORT}`, async () => {
    const { lines, end } = start(podSpace("mallory"), IDLE, String(OWN_PORT), String(MANY), ...NODE_IPS, "10.244.1.0");
    const [line] = (await once(lines, "line")) as [string];
    assert.equal(line, `0 of ${3 * MANY}`);
    await readyOnNode();
    await end();
    return "none came about: the agent listens on the loopback address alone";
  });

  attack("pod", `holds ${MANY} connections to each of the node's addresses where metrics are for all`, async () => {
    const { lines, end } = start(podSpace("mallory"), IDLE, String(METRICS_PORT), String(MANY), ...NODE_IPS);
    const [line] = (await once(lines, "line")) as [string];
    assert.notEqual(line, `0 of ${2 * MANY}`, "the attack is one: the port is open to pods");
    await readyOnNode();
    const url = (ip: string): string => `http://${ip.includes(":") ? `[${ip}]` : ip}:${METRICS_PORT}/metrics`;
    for (const ip of NODE_IPS) {
      for (const other of [podSpace("alice"), podSpace("bob"), nodeSpace("node2")])
        assert.equal(await ask(other, url(ip), TOKEN), "200 true");
      assert.match(await ask(podSpace("mallory"), url(ip)), /^40[13] /);
    }
    await end();
    return `${line} came about; the node's probes and others with the token are answered, nobody without it`;
  });

  attack("pod", "sends DHCP, mDNS and other broadcasts and multicasts", async () => {
    const [ip = ""] = the().pod("mallory").ips;
    const device = /dev (\S+)/.exec(await the().exec("node1", "ip", "route", "get", ip))?.[1] as string;
    const listener = start(nodeSpace("node1"), LISTEN, device, "67", "547", "5353", String(SENTINEL));
    const heard: string[] = [];
    const [first] = (await once(listener.lines, "line")) as [string];
    assert.equal(first, "listening");
    const last = new Promise<void>((resolve) => {
      listener.lines.on("line", (line) => (line.startsWith(String(SENTINEL)) ? resolve() : heard.push(line)));
    });
    {
      using from = new FrameSender(podNetns(the().context, the().pod("mallory")), "eth0");
      // As a client does that has no address yet, and by a frame to the node alone.
      for (const [source, mac] of [
        ["0.0.0.0", BROADCAST],
        [ip, BROADCAST],
        ["0.0.0.0", HOST_MAC],
        [ip, HOST_MAC],
      ] as const)
        for (const to of ["255.255.255.255", "224.0.0.1"])
          for (let n = 0; n < 5; n++) from.send(frame(from.mac, mac, udp(source, to, 67, Buffer.alloc(300))));
    }
    const shout = entering(podSpace("mallory"), process.execPath, [
      "-e",
      SHOUT,
      "eth0",
      NODE_IPS[0] as string,
      String(SENTINEL),
    ]);
    await run(shout, { env: the().context.env });
    await last;
    assert.deepEqual(heard, []);
    await listener.end();
    return "nothing of it reaches a socket of the node; what is sent to the node's own address does";
  });
});
