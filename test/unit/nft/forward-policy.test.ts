import assert from "node:assert/strict";
import { ensureForwarding, NftError, type RunTool } from "../../../src/dataplane/nft/index.ts";

const accept = (key: string, extra: object[] = [{ counter: { packets: 5, bytes: 500 } }]) => ({
  rule: {
    handle: 9,
    expr: [{ match: { op: "==", left: { meta: { key } }, right: "sky*" } }, ...extra, { accept: null }],
  },
});
const jump = (handle: number) => ({
  rule: { handle, expr: [{ counter: null }, { jump: { target: "SKYLANE-FORWARD" } }] },
});
const theirs = { rule: { handle: 3, expr: [{ xt: null }, { jump: { target: "DOCKER-USER" } }] } };

/** The machine that runs this test may have legacy tables of its own, and does not show them to everybody. */
const NO_LEGACY = (): string[] => [];
/** Nor does its kernel say what nft says here. */
const unknown = (): undefined => undefined;

/** An nft that lists what it is given and remembers what it is told to do. */
function fake(host: { policy?: string; forward?: object[]; own?: object[] }, told: string[]): RunTool {
  const forward = host.policy && [{ chain: { name: "FORWARD", policy: host.policy } }, ...(host.forward ?? [])];
  const own = host.own && [{ chain: { name: "SKYLANE-FORWARD" } }, ...host.own];
  return async (program, args, input = "") => {
    assert.equal(program, "nft");
    if (args.includes("-f")) {
      told.push(...input.trimEnd().split("\n"));
      return "";
    }
    const chain = args.includes("ip6") ? undefined : args.includes("FORWARD") ? forward : own;
    if (!chain) throw new NftError("nft", "refused", "Error: No such file or directory", "nft failed");
    return JSON.stringify({ nftables: [{ metainfo: {} }, ...chain] });
  };
}

async function told(
  host: Parameters<typeof fake>[0],
): Promise<{ lines: string[]; dropping: number; restored: boolean }> {
  const lines: string[] = [];
  const { dropping, restored } = await ensureForwarding(fake(host, lines), undefined, NO_LEGACY, unknown);
  return { lines, dropping, restored };
}

describe("the FORWARD policy", () => {
  it("of a host without such chains, or that accepts, is left alone", async () => {
    assert.deepEqual(await told({}), { lines: [], dropping: 0, restored: false });
    assert.deepEqual((await told({ policy: "accept", forward: [theirs] })).lines, []);
  });

  it("of drop gets a jump at the end and a chain of ours, and nothing of anybody else's is named", async () => {
    assert.deepEqual(await told({ policy: "drop", forward: [theirs] }), {
      lines: [
        "add chain ip filter SKYLANE-FORWARD",
        "flush chain ip filter SKYLANE-FORWARD",
        'add rule ip filter SKYLANE-FORWARD iifname "sky*" counter accept',
        'add rule ip filter SKYLANE-FORWARD oifname "sky*" counter accept',
        "add rule ip filter FORWARD counter jump SKYLANE-FORWARD",
      ],
      dropping: 1,
      restored: false,
    });
  });

  it("is in order with our chain whole and one jump to it, whatever the counters say", async () => {
    const own = [accept("iifname"), accept("oifname", [])];
    assert.deepEqual(await told({ policy: "drop", forward: [theirs, jump(7)], own }), {
      lines: [],
      dropping: 1,
      restored: false,
    });
  });

  it("has what was taken from it or doubled put right", async () => {
    const own = [accept("iifname"), accept("oifname")];
    const flushed = await told({ policy: "drop", forward: [jump(7)], own: [] });
    assert.equal(flushed.restored, true);
    assert.ok(!flushed.lines.some((line) => line.includes("FORWARD counter jump")));
    assert.ok((await told({ policy: "drop", forward: [theirs], own })).lines.at(-1)?.endsWith("jump SKYLANE-FORWARD"));
    const doubled = await told({ policy: "drop", forward: [jump(7), jump(8)], own });
    assert.equal(doubled.lines.at(-1), "delete rule ip filter FORWARD handle 8");
    const narrowed = [accept("iifname", [{ limit: {} }]), accept("oifname")];
    assert.equal((await told({ policy: "drop", forward: [jump(7)], own: narrowed })).restored, true);
  });

  it("that accepts again has ours taken back", async () => {
    const own = [accept("iifname"), accept("oifname")];
    assert.deepEqual((await told({ policy: "accept", forward: [theirs, jump(7)], own })).lines, [
      "delete rule ip filter FORWARD handle 7",
      "flush chain ip filter SKYLANE-FORWARD",
      "delete chain ip filter SKYLANE-FORWARD",
    ]);
  });
});
