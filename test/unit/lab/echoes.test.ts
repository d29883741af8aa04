import assert from "node:assert/strict";
import { Echoes } from "../../../lab/pods/echoes.ts";

const answer = (at: number, seq: number, ms: number): string =>
  `[${at}] 64 bytes from 10.0.0.1: icmp_seq=${seq} ttl=64 time=${ms} ms`;
const gapOf = (...lines: string[]): number => {
  const echoes = new Echoes();
  for (const line of lines) echoes.read(line);
  return Math.round(echoes.longestGapMs());
};

describe("echo requests of a ping", () => {
  it("tell how long the other end was out of reach", () => {
    const lost = ["[100.02] no answer yet for icmp_seq=2", "[100.03] no answer yet for icmp_seq=3"];
    assert.equal(gapOf(answer(100, 1, 0.1), ...lost, answer(100.5, 4, 0.1)), 480);
    assert.equal(gapOf(answer(100, 1, 0.1), answer(100.3, 2, 290)), 290);
  });

  it("do not count a time in which nothing was asked", () => {
    const late = ["[101.19] no answer yet for icmp_seq=2"];
    assert.equal(gapOf(answer(100, 1, 0.1), ...late, answer(101.2, 3, 0.1)), 10);
    assert.equal(gapOf(answer(100, 1, 0.5), answer(105, 2, 0.5)), 1);
  });

  it("are not answers while there is none, nor anything else that ping says", () => {
    const echoes = new Echoes();
    assert.equal(echoes.read("PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data."), false);
    assert.equal(echoes.read("[1.5] no answer yet for icmp_seq=1"), false);
    assert.equal(echoes.read("[1.6] From 10.0.0.2 icmp_seq=2 Destination Host Unreachable"), false);
    assert.equal(echoes.read(answer(1.7, 3, 0.1)), true);
    assert.equal(echoes.longestGapMs(), 0.1);
  });
});
