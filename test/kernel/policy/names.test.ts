/**
 * Domain names in policies, in a real kernel: a pod asks a DNS server that is another pod, its answer is held until the rules have the address, and its next packet
 * is let through. The server sends back what it is sent, so that a question is the answer that is wanted.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { entering, run } from "../../../lab/exec.ts";
import { ipToBytes } from "../../../src/addr/index.ts";
import { NameAnswers } from "../../../src/enforcement/names/name-answers.ts";
import { type Changes, PolicyModel, PolicyTable, readClusterNetworkPolicy } from "../../../src/policy/index.ts";
import type { Pod } from "../../../src/policy/semantics/types.ts";
import { eventually } from "../../support/eventually.ts";
import { answerBytes, nameBytes, type TestRecord } from "../../unit/dns/messages.ts";
import type { TestNamespace } from "../support/netns.ts";
import { type PolicyNode, policyNode } from "./policy-node.ts";

const HERE = "here";
const pod = (namespace: string, name: string, ips: string[], labels: Record<string, string> = {}): Pod => ({
  namespace,
  name,
  labels,
  ips,
  ports: [],
  node: HERE,
  hostNetwork: false,
  ended: false,
});
const CLIENT = pod("shop", "client", ["10.0.0.1", "fd00::1"]);
const DNS = pod("kube-system", "coredns-1", ["10.0.0.3", "fd00::3"], { "k8s-app": "kube-dns" });
/** A pod that answers on port 53 and is nobody's DNS server. */
const IMPOSTOR = pod("shop", "impostor", ["10.0.0.5", "fd00::5"], { "k8s-app": "kube-dns" });
const PODS = [CLIENT, DNS, IMPOSTOR];
const LOG = { error: () => undefined, warn: () => undefined, info: () => undefined, debug: () => undefined };

/** Besides port 53 another one, to which a Service may lead. */
const ECHO = `
  const listening = [53, 5353].map((at) => {
    const socket = require("node:dgram").createSocket("udp6");
    socket.on("message", (message, { port, address }) => socket.send(message, port, address));
    return new Promise((resolve) => socket.bind(at, "::", resolve));
  });
  listening.push(new Promise((resolve) =>
    require("node:net").createServer((socket) => socket.pipe(socket).on("error", () => undefined)).listen(53, "::", resolve)));
  Promise.all(listening).then(() => console.log("ready"));
`;
/** Addresses of a Service before the DNS server. */
const SERVICE = ["172.20.0.10", "fd20::10"] as const;
const TRANSLATION = `
  table inet service {
    chain translate {
      type nat hook prerouting priority dstnat;
      ip daddr ${SERVICE[0]} udp dport 53 dnat ip to 10.0.0.3:5353
      ip6 daddr ${SERVICE[1]} udp dport 53 dnat ip6 to [fd00::3]:5353
    }
  }`;
const ASK = `
  const [host, message] = process.argv.slice(1);
  const socket = require("node:dgram").createSocket(host.includes(":") ? "udp6" : "udp4");
  const say = (text) => { console.log(text); process.exit(); };
  socket.on("message", () => say("answered"));
  setTimeout(say, 20_000, "no answer");
  socket.send(Buffer.from(message, "hex"), 53, host);
`;

/** Asks by TCP, in two segments: the second once the first has come back. */
const ASK_BY_TCP = `
  const [host, message] = process.argv.slice(1);
  const body = Buffer.from(message, "hex");
  const whole = Buffer.concat([Buffer.from([body.length >> 8, body.length & 255]), body]);
  const socket = require("node:net").connect(53, host, () => socket.write(whole.subarray(0, 20)));
  const say = (text) => { console.log(text); process.exit(); };
  let came = 0;
  socket.setNoDelay(true).on("data", (part) => {
    came += part.length;
    if (came === 20) socket.write(whole.subarray(20));
    if (came === whole.length) say("answered");
  });
  socket.on("error", ({ message }) => say(message));
  setTimeout(say, 20_000, "no answer");
`;

const address = (owner: string, ip: string): TestRecord => ({
  owner,
  type: ip.includes(":") ? "AAAA" : "A",
  ttl: 60,
  data: Buffer.from(ipToBytes(ip)),
});

describe("domain names in policies", () => {
  let node: PolicyNode;
  let directory: string;
  let model: PolicyModel;
  let table: PolicyTable;
  let names: NameAnswers;
  let told: Changes[];
  let last: Promise<unknown>;
  const refused: string[] = [];
  const servers: ChildProcess[] = [];
  const of = new Map<string, TestNamespace>();

  const change = (changes: Changes): Promise<void> => {
    told.push(changes);
    const done = last.then(async () => {
      await table.apply(model.ruleset, model.change(changes).rules);
    });
    last = done;
    return done;
  };
  const listening = (): NameAnswers =>
    new NameAnswers({
      log: LOG as never,
      netns: node.ns.path,
      path: join(directory, "names.json"),
      change,
      wantsName: (name) => model.wantsName(name),
      onFault: () => {},
    });
  /** Has the client ask, and whatever answers. */
  const ask = async (
    server: Pick<Pod, "ips">,
    asked: string,
    records: readonly TestRecord[],
    family = 0,
    program = ASK,
  ): Promise<string> => {
    const message = answerBytes(asked, records, { type: family === 1 ? "AAAA" : "A" }).toString("hex");
    const argv = [process.execPath, "-e", program, server.ips[family] as string, message] as const;
    return (await run(entering({ netns: (of.get("client") as TestNamespace).path }, argv[0], argv.slice(1)))).trim();
  };
  const arrives = async (...ips: string[]): Promise<boolean[]> =>
    node.arriving(
      ips.map((ip) => ({
        source: CLIENT.ips[ip.includes(":") ? 1 : 0] as string,
        destination: ip,
        protocol: "TCP",
        port: 443,
      })),
    );

  before("pods, two of which answer on port 53", async () => {
    node = policyNode(["172.30.0.1", "fd30::1"]);
    for (const { name, ips } of PODS) of.set(name, node.pod(name, ips));
    await node.nft(TRANSLATION);
    for (const { name } of [DNS, IMPOSTOR]) {
      const [command, ...args] = entering({ netns: (of.get(name) as TestNamespace).path }, process.execPath, [
        "-e",
        ECHO,
      ]);
      const server = spawn(command as string, args, { stdio: ["ignore", "pipe", "inherit"] });
      servers.push(server);
      await once(server.stdout as NodeJS.ReadableStream, "data");
    }
  });

  beforeEach("a policy that lets the client reach one name and what is below another", async () => {
    directory = mkdtempSync(join(tmpdir(), "skylane-names-"));
    [told, last] = [[], Promise.resolve()];
    model = new PolicyModel(HERE);
    table = new PolicyTable({ netns: node.ns.path, onRefused: ({ message }) => void refused.push(message) });
    names = listening();
    const { policy, faults } = readClusterNetworkPolicy({
      metadata: { name: "names" },
      spec: {
        tier: "Admin",
        priority: 1,
        subject: {
          pods: {
            namespaceSelector: {},
            podSelector: { matchExpressions: [{ key: "k8s-app", operator: "DoesNotExist" }] },
          },
        },
        egress: [
          { action: "Accept", to: [{ domainNames: ["one.example", "*.many.example"] }], protocols: [{ tcp: {} }] },
          { action: "Accept", to: [{ pods: { podSelector: { matchLabels: { "k8s-app": "kube-dns" } } } }] },
          { action: "Deny", to: [{ networks: ["0.0.0.0/0", "::/0"] }] },
        ],
      },
    });
    assert.deepEqual(faults, []);
    assert.ok(policy);
    const namespaces = ["shop", "kube-system"].map((name) => ({ name, labels: {}, audit: false }));
    model.change({ pods: { set: PODS }, namespaces: { set: namespaces } });
    await table.put(model.ruleset);
    await change({ policies: { set: [policy] } });
    assert.equal(table.unheld, undefined);
    names.listen(true);
    await eventually(() => node.ns.exec("cat", "/proc/net/netfilter/nfnetlink_queue").includes(" 83 "));
  });

  afterEach(async () => {
    await names.stop();
    await table.remove();
    table[Symbol.dispose]();
    rmSync(directory, { recursive: true, force: true });
    // The first form of the rules, on kernels that do not support it.
    assert.deepEqual(
      refused.filter((message) => !message.includes("Operation not supported")),
      [],
    );
  });

  after(async () => {
    for (const server of servers) {
      const closed = once(server, "close");
      server.kill("SIGKILL");
      await closed;
    }
  });

  it("let through what a name was answered to be, from the first packet after the answer on", async () => {
    assert.deepEqual(await arrives("198.51.100.1", "2001:db8::1"), [false, false]);
    assert.equal(await ask(DNS, "one.example", [address("one.example", "198.51.100.1")]), "answered");
    assert.deepEqual(await arrives("198.51.100.1", "198.51.100.2"), [true, false]);
    assert.equal(await ask(DNS, "ONE.example", [address("ONE.example", "2001:db8::1")], 1), "answered");
    assert.deepEqual(await arrives("2001:db8::1", "2001:db8::2"), [true, false]);
    const alias: TestRecord = { owner: "a.b.many.example", type: "CNAME", data: nameBytes("cdn.elsewhere.example") };
    await ask(DNS, "a.b.many.example", [alias, address("cdn.elsewhere.example", "198.51.100.3")]);
    assert.deepEqual(await arrives("198.51.100.3"), [true]);
  });

  it("let through what a name was answered to be by TCP, in several segments", async () => {
    for (const [family, ip] of ["198.51.100.1", "2001:db8::1"].entries()) {
      assert.deepEqual(await arrives(ip), [false]);
      const records = [address("one.example", ip)];
      assert.equal(await ask(DNS, "one.example", records, family, ASK_BY_TCP), "answered");
      assert.deepEqual(await arrives(ip), [true]);
    }
    const others = [address("other.example", "198.51.100.2")];
    assert.equal(await ask(DNS, "other.example", others, 0, ASK_BY_TCP), "answered");
    assert.deepEqual(await arrives("198.51.100.2"), [false]);
  });

  it("let through what a Service's server has answered, whichever port that listens on", async () => {
    const service = { ips: SERVICE };
    assert.equal(await ask(service, "one.example", [address("one.example", "198.51.100.5")]), "answered");
    assert.equal(await ask(service, "one.example", [address("one.example", "2001:db8::5")], 1), "answered");
    assert.deepEqual(await arrives("198.51.100.5", "2001:db8::5"), [true, true]);
  });

  it("let nothing through for other names, other records, other servers, or what is no answer", async () => {
    const ip = "198.51.100.9";
    await ask(DNS, "two.example", [address("two.example", ip)]);
    await ask(DNS, "many.example", [address("many.example", ip)]);
    await ask(DNS, "two.example", [address("one.example", ip)]);
    await ask(IMPOSTOR, "one.example", [address("one.example", ip)]);
    await ask(DNS, "one.example", []);
    const [command, ...args] = entering({ netns: (of.get("client") as TestNamespace).path }, process.execPath, [
      "-e",
      ASK,
      DNS.ips[0] as string,
      "00ff",
    ]);
    assert.equal((await run([command as string, ...args])).trim(), "answered");
    assert.deepEqual(await arrives(ip), [false]);
    assert.ok(!told.some((one) => one.names));
  });

  it("are over in the kernel by themselves, and for the rules when these are told so, and connections go on", async () => {
    const [ip, packet] = [
      "198.51.100.1",
      { source: "10.0.0.1", destination: "198.51.100.1", protocol: "TCP", port: 443 } as const,
    ];
    await change({ names: { set: [{ name: "one.example", ip, until: Date.now() + 1_500 }] } });
    await eventually(async () => (await arrives(ip))[0] === false, { timeoutMs: 20_000 });
    await change({ names: { set: [{ name: "one.example", ip, until: 0 }] } });
    assert.equal(model.outcomeAt("egress", packet)?.kind, "deny");
    assert.equal(model.passes(packet), true);
    await change({ names: { set: [{ name: "one.example", ip, until: Date.now() + 60_000 }] } });
    assert.deepEqual(await arrives(ip), [true]);
    // A table that is put in place whole has it for as long.
    await table.put(model.ruleset);
    assert.deepEqual(await arrives(ip), [true]);
    await change({ names: { gone: [{ name: "one.example", ip }] } });
    assert.deepEqual(await arrives(ip), [false]);
    assert.equal(model.passes(packet), false);
  });

  it("are known to the agent that comes next, and answers pass while there is none", async () => {
    await ask(DNS, "one.example", [address("one.example", "198.51.100.1")]);
    await names.stop();
    assert.ok(existsSync(join(directory, "names.json")));
    assert.deepEqual(await arrives("198.51.100.1"), [true]);
    assert.equal(await ask(DNS, "one.example", [address("one.example", "198.51.100.2")]), "answered");
    assert.deepEqual(await arrives("198.51.100.2"), [false]);
    told = [];
    names = listening();
    names.start();
    assert.deepEqual(
      told.flatMap((one) => one.names?.set ?? []).map(({ name, ip }) => `${name} ${ip}`),
      ["one.example 198.51.100.1"],
    );
  });

  it("leave no chain for answers once no rule has one", async () => {
    const chains = (): string => node.ns.exec("nft", "list", "chains");
    assert.match(chains(), /answers_forward/);
    await change({ policies: { gone: [{ kind: "ClusterNetworkPolicy", namespace: undefined, name: "names" }] } });
    assert.doesNotMatch(chains(), /answers/);
  });
});
