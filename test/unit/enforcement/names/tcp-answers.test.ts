import assert from "node:assert/strict";
import fc from "fast-check";
import { ipToBytes } from "../../../../src/addr/index.ts";
import { type TcpSegment, tcpSegment } from "../../../../src/dataplane/nfqueue/index.ts";
import { TcpAnswers } from "../../../../src/enforcement/names/tcp-answers.ts";

const FIRST = 0xffff_fff0;
const segment = (at: number, payload: Buffer, more: Partial<TcpSegment> = {}): TcpSegment => ({
  source: "10.0.0.3",
  sourcePort: 53,
  destination: "10.0.0.1",
  destinationPort: 40_000,
  sequence: (FIRST + 1 + at) % 2 ** 32,
  isSyn: false,
  isLast: false,
  payload,
  ...more,
});
const syn = (more: Partial<TcpSegment> = {}): TcpSegment =>
  segment(0, Buffer.alloc(0), { sequence: FIRST, isSyn: true, ...more });
const framed = (...messages: string[]): Buffer =>
  Buffer.concat(messages.flatMap((one) => [Buffer.from([one.length >> 8, one.length & 255]), Buffer.from(one)]));
const texts = (messages: readonly Buffer[]): string[] => messages.map(String);

describe("answers of DNS servers by TCP", () => {
  it("are put together however they are cut, also where what was sent is sent again", () => {
    fc.assert(
      fc.property(
        fc.array(fc.stringMatching(/^[a-z]{0,40}$/), { maxLength: 5 }),
        fc.array(fc.record({ length: fc.integer({ min: 1, max: 30 }), again: fc.nat(20) })),
        (messages, cuts) => {
          const stream = framed(...messages);
          const answers = new TcpAnswers();
          answers.take(syn());
          const found: string[] = [];
          let at = 0;
          for (const { length, again } of [...cuts, { length: stream.length, again: 0 }]) {
            const from = Math.max(0, at - again);
            const end = Math.min(stream.length, at + length);
            found.push(...texts(answers.take(segment(from, stream.subarray(from, end)))));
            at = end;
          }
          assert.deepEqual(found, messages);
        },
      ),
    );
  });

  it("are none where a segment is missing, the connection's beginning was not seen, or it is over", () => {
    const answers = new TcpAnswers();
    assert.deepEqual(answers.take(segment(0, framed("unseen"))), []);
    answers.take(syn());
    assert.deepEqual(answers.take(segment(5, framed("behind a gap"))), []);
    assert.deepEqual(answers.take(segment(0, framed("too late"))), []);
    answers.take(syn());
    assert.deepEqual(texts(answers.take(segment(0, framed("last"), { isLast: true }))), ["last"]);
    assert.deepEqual(answers.take(segment(6, framed("after"))), []);
  });

  it("are told apart by their connections, of which there is a bound", () => {
    const answers = new TcpAnswers();
    const of = (destinationPort: number): Partial<TcpSegment> => ({ destinationPort });
    for (const port of [1, 2]) answers.take(syn(of(port)));
    answers.take(segment(0, framed("one").subarray(0, 3), of(1)));
    assert.deepEqual(texts(answers.take(segment(0, framed("two"), of(2)))), ["two"]);
    assert.deepEqual(texts(answers.take(segment(3, framed("one").subarray(3), of(1)))), ["one"]);
    for (let port = 3; port < 2_000; port++) answers.take(syn(of(port)));
    assert.deepEqual(answers.take(segment(5, framed("gone"), of(1))), []);
    assert.deepEqual(texts(answers.take(segment(0, framed("young"), of(1_999)))), ["young"]);
    // Messages that never end have no more room than some of the connections that are followed.
    const endless = Buffer.concat([Buffer.from([0xff, 0xff]), Buffer.alloc(60_000)]);
    for (let port = 1_900; port < 1_999; port++) answers.take(segment(0, endless, of(port)));
    const rest = (port: number): number => answers.take(segment(60_002, Buffer.alloc(5_535), of(port))).length;
    assert.deepEqual([1_900, 1_998].map(rest), [0, 1]);
  });

  it("are forgotten of the pod that has most of them, and of no other", () => {
    const answers = new TcpAnswers();
    const quiet = { destination: "10.0.0.2", destinationPort: 1 };
    answers.take(syn(quiet));
    answers.take(segment(0, framed("quiet").subarray(0, 3), quiet));
    const loud = (destinationPort: number): Partial<TcpSegment> => ({ destinationPort });
    for (let port = 1; port <= 5_000; port++) answers.take(syn(loud(port)));
    const endless = Buffer.concat([Buffer.from([0xff, 0xff]), Buffer.alloc(60_000)]);
    for (let port = 4_000; port <= 5_000; port++) answers.take(segment(0, endless, loud(port)));
    assert.deepEqual(texts(answers.take(segment(3, framed("quiet").subarray(3), quiet))), ["quiet"]);
    const rest = (port: number): number => answers.take(segment(60_002, Buffer.alloc(5_535), loud(port))).length;
    assert.deepEqual([4_000, 5_000].map(rest), [0, 1]);
  });

  it("take no room any more when they are over", () => {
    const answers = new TcpAnswers();
    const of = (n: number): Partial<TcpSegment> => ({ destination: `10.0.${n >> 8}.${n & 255}` });
    const first = { destination: "10.1.0.1" };
    answers.take(syn(first));
    answers.take(segment(0, framed("first").subarray(0, 3), first));
    const begun = Buffer.concat([Buffer.from([0xff, 0xff]), Buffer.alloc(60_000)]);
    for (let n = 0; n < 1_200; n++) {
      answers.take(syn(of(n)));
      answers.take(segment(0, begun, of(n)));
      answers.take(segment(60_002, Buffer.alloc(0), { ...of(n), isLast: true }));
    }
    assert.deepEqual(texts(answers.take(segment(3, framed("first").subarray(3), first))), ["first"]);
  });
});

describe("a TCP segment that is held", () => {
  const tcp = Buffer.alloc(24);
  tcp.writeUInt16BE(53, 0);
  tcp.writeUInt16BE(40_000, 2);
  tcp.writeUInt32BE(7, 4);
  tcp[12] = 0x60;
  tcp[13] = 0x12;
  const body = Buffer.concat([tcp, Buffer.from("payload")]);

  it("has its ends, its place and its payload read, in both families", () => {
    const ipv4 = Buffer.alloc(20);
    ipv4[0] = 0x45;
    ipv4.writeUInt16BE(20 + body.length, 2);
    ipv4[9] = 6;
    ipv4.set(ipToBytes("10.0.0.3"), 12);
    ipv4.set(ipToBytes("10.0.0.1"), 16);
    const ipv6 = Buffer.alloc(40);
    ipv6[0] = 0x60;
    ipv6.writeUInt16BE(body.length, 4);
    ipv6[6] = 6;
    ipv6.set(ipToBytes("fd00::3"), 8);
    ipv6.set(ipToBytes("fd00::1"), 24);
    for (const [header, source, destination] of [
      [ipv4, "10.0.0.3", "10.0.0.1"],
      [ipv6, "fd00::3", "fd00::1"],
    ] as const) {
      const whole = Buffer.concat([header, body]);
      const { payload, ...rest } = tcpSegment(Buffer.concat([whole, Buffer.from("padding")])) as TcpSegment;
      assert.equal(payload.toString(), "payload");
      const ports = { sourcePort: 53, destinationPort: 40_000 };
      assert.deepEqual(rest, { source, destination, ...ports, sequence: 7, isSyn: true, isLast: false });
      for (let length = 0; length < whole.length; length++)
        assert.equal(tcpSegment(whole.subarray(0, length)), undefined);
    }
  });

  it("is something, or nothing, of any bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void tcpSegment(Buffer.from(bytes))));
  });
});
