import assert from "node:assert/strict";
import { closeSync, openSync } from "node:fs";
import { Conntrack } from "../../../src/dataplane/conntrack/index.ts";
import { ConnectionJudge } from "../../../src/enforcement/connections.ts";
import type { Logger } from "../../../src/log/index.ts";
import { eventually } from "../../support/eventually.ts";
import { testNamespace, type TestNamespace } from "../support/netns.ts";

const CLIENT = "10.0.0.3";
const FORMER = "10.0.0.4";

/** Sends a datagram from one of the namespace's own addresses to another one, to which nobody listens. */
const SEND = (from: string, to: string): string => `
  const s = require("node:dgram").createSocket("udp4");
  s.bind({ address: "${from}", port: 4000 }, () => s.send("x", 4001, "${to}", () => s.close()));
`;

describe("connections that are judged", () => {
  let ns: TestNamespace;
  let netns: number;
  let judge: ConnectionJudge;
  /** How many times the kernel's table was read. */
  let readings: number;
  const held = new Set<string>();

  before(() => {
    ns = testNamespace("judged");
    netns = openSync(ns.path, "r");
    ns.exec("ip", "link", "set", "lo", "up");
    for (const ip of [CLIENT, FORMER]) ns.exec("ip", "address", "add", `${ip}/32`, "dev", "lo");
    // The kernel follows connections where a rule asks for it.
    ns.exec("nft", "add table inet follow; add chain inet follow c { type filter hook input priority 0; }");
    ns.exec("nft", "add rule inet follow c ct state established accept");
  });
  beforeEach(() => {
    readings = 0;
    held.clear();
    const silent = (): void => undefined;
    judge = new ConnectionJudge({
      log: { error: (text: string) => assert.fail(text), info: silent } as unknown as Logger,
      netns,
      passes: () => false,
      ownAddresses: () => {
        readings++;
        return new Set();
      },
      isOurs: () => true,
      isHeld: (ip) => held.has(ip),
    });
  });
  afterEach(() => judge.stop());
  after(() => closeSync(netns));

  const connections = async (): Promise<number> => {
    using conntrack = Conntrack.open(netns);
    return (await conntrack.select(({ original }) => original.source === CLIENT)).length;
  };
  const connect = async (): Promise<void> => {
    ns.exec(process.execPath, "-e", SEND(CLIENT, FORMER));
    assert.equal(await connections(), 1);
  };

  it("are those of the pod before, where a pod comes to its address, and of no pod to an address that none had", async () => {
    await connect();
    judge.want([{ ip: FORMER, peer: undefined }], "coming");
    await eventually(async () => (await connections()) === 0, { message: "nobody knows yet which addresses are used" });
    assert.equal(readings, 1);

    held.add(CLIENT);
    judge.uses([CLIENT]);
    judge.want([{ ip: CLIENT, peer: FORMER }], "coming");
    await connect();
    judge.want([{ ip: FORMER, peer: undefined }], "change");
    await eventually(async () => (await connections()) === 0);
    assert.equal(readings, 2, "nobody had the peer's address before: nothing is judged for it");

    held.add(FORMER);
    judge.uses([FORMER]);
    await connect();
    held.delete(FORMER);
    judge.want([{ ip: FORMER, peer: undefined }], "coming");
    await eventually(async () => (await connections()) === 0, { message: "those of the pod before are ended" });
    assert.equal(readings, 3);
  });

  it("are read once for all pods that leave", async () => {
    judge.uses([FORMER, CLIENT]);
    await connect();
    judge.want([{ ip: CLIENT, peer: FORMER }], "leaving");
    judge.want([{ ip: FORMER, peer: undefined }], "leaving");
    await eventually(async () => (await connections()) === 0);
    assert.equal(readings, 1);
  });
});
