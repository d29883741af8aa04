import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { testNamespace } from "../support/netns.ts";

/** How it hears of what comes: in a thread, which it has of its own namespace alone, or by signals, as of one that is named. */
const WAYS = [
  ["by a thread", undefined],
  ["by signals", "/proc/self/ns/net"],
] as const;

/** A reader of addresses (RTMGRP_IPV4_IFADDR) in a process of its own, which rests so long; `then` is what comes after it is open. */
const reader = (netns: string | undefined, restMs: number, then: string): string => `
  import { MulticastReader } from "./src/sys/index.ts";
  import { Rtnl } from "./src/netlink/index.ts";
  const rtnl = Rtnl.open();
  const add = (last) => rtnl.execute({ op: "replace", kind: "address", address: { ifindex: 1, ip: "10.0.0." + last, prefix: 32 } });
  let [seen, drained, heard] = [0, 0, () => undefined];
  const hear = () => new Promise((resolve) => (heard = resolve));
  const reader = MulticastReader.open("addresses", { protocol: 0, groups: 1 << 4, restMs: ${restMs}, netns: ${JSON.stringify(netns)} }, {
    onDatagram() { seen++; return undefined; },
    onDrained() { drained++; heard(); },
    onLost(reason) { throw new Error(reason); },
  });
  ${then}
  rtnl[Symbol.dispose]();`;

describe("a reader of announcements that rests", function () {
  this.timeout(60_000);

  const run = (script: string): string => {
    const { path } = testNamespace("rests");
    const argv = [`--net=${path}`, "--", process.execPath, "--input-type=module", "-e", script];
    const { status, stdout, stderr } = spawnSync("nsenter", argv, { encoding: "utf8", timeout: 50_000 });
    assert.equal(status, 0, stderr);
    return stdout.trim();
  };

  for (const [way, netns] of WAYS) {
    it(`takes all that has come meanwhile in one go, ${way}`, () => {
      const said = run(
        reader(
          netns,
          1_000,
          `const first = hear(); add(1); await first;
         for (let last = 2; last <= 30; last++) add(last);
         await hear();
         await reader.close();
         console.log(seen, drained);`,
        ),
      );
      assert.equal(said, "30 2");
    });

    it(`is closed at once, ${way}`, () => {
      const said = run(
        reader(
          netns,
          3_600_000,
          `const first = hear(); add(1); await first;
         await reader.close();
         console.log(seen);`,
        ),
      );
      assert.equal(said, "1");
    });
  }
});
