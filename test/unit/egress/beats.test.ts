import assert from "node:assert/strict";
import { bytesToIp } from "../../../src/addr/index.ts";
import { Beats } from "../../../src/egress/index.ts";
import type { Logger } from "../../../src/log/index.ts";
import { SysError } from "../../../src/sys/index.ts";

const QUIET = { warn: () => undefined } as unknown as Logger;

/** A network in which nodes answer, or do not. */
class Network {
  readonly answering = new Set<string>();
  readonly #arrived: { from: string; data: Buffer; at: number }[] = [];
  broken = false;
  /** Who answers in a node's place. */
  liar: string | undefined;

  readonly socket = {
    send: (to: Buffer, data: Buffer): SysError | undefined => {
      const from = bytesToIp(to.subarray(4, 8));
      if (this.answering.has(from)) this.#arrived.push({ from: this.liar ?? from, data: Buffer.from(data), at: 0 });
      return undefined;
    },
    answers: (_most: number, take: (one: { from: string; data: Buffer; at: number }) => void): void =>
      this.#arrived.splice(0).forEach(take),
    requests: (): void => undefined,
    [Symbol.dispose]: (): void => undefined,
  };

  open(): typeof this.socket {
    if (this.broken) throw new SysError(1, "socket", "opening an ICMP socket");
    return this.socket;
  }
}

describe("beats between candidates", () => {
  const NODE = { name: "n2", ip: "172.30.0.12" };
  let [network, changes] = [new Network(), 0];
  let beats: Beats;
  const beat = (times: number): void => {
    for (let n = 0; n < times; n++) beats.beat();
  };
  beforeEach(() => {
    [network, changes] = [new Network(), 0];
    beats = new Beats({
      log: QUIET,
      onChange: () => void changes++,
      onBeat: () => undefined,
      open: () => network.open(),
    });
    beats.follow(new Map([[NODE.name, NODE.ip]]));
  });
  afterEach(() => beats.stop());

  it("take a node for dead when four in a row are not answered, and for alive with the first answer", () => {
    network.answering.add(NODE.ip);
    assert.equal(beats.hears(NODE.name), undefined);
    beat(2);
    assert.equal(beats.hears(NODE.name), true);
    network.answering.clear();
    // The one under way was answered.
    beat(4);
    assert.equal(beats.hears(NODE.name), true);
    const before = changes;
    beat(1);
    assert.deepEqual([beats.hears(NODE.name), changes - before], [false, 1]);
    network.answering.add(NODE.ip);
    beat(2);
    assert.equal(beats.hears(NODE.name), true);
  });

  it("take one for dead that never answers, and none that another one answers for", () => {
    network.answering.add(NODE.ip);
    network.liar = "172.30.0.99";
    beat(5);
    assert.equal(beats.hears(NODE.name), false);
    assert.equal(beats.hears("n9"), undefined);
  });

  it("take nobody for dead that they cannot ask", () => {
    network.broken = true;
    beat(10);
    assert.notEqual(beats.hears(NODE.name), false);
  });

  it("know nothing of a node any more that is not followed", () => {
    network.answering.add(NODE.ip);
    beat(2);
    beats.follow(new Map());
    assert.equal(beats.hears(NODE.name), undefined);
  });
});
