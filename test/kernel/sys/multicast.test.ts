import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { testNamespace } from "../support/netns.ts";

/** A reader of addresses (RTMGRP_IPV4_IFADDR) in a process of its own, which rests so long; `then` is what comes after it is open. */
const reader = (restMs: number, then: string): string => `
  import { MulticastReader } from "./src/sys/index.ts";
  import { Rtnl } from "./src/netlink/index.ts";
  const rtnl = Rtnl.open();
  const add = (last) => rtnl.execute({ op: "replace", kind: "address", address: { ifindex: 1, ip: "10.0.0." + last, prefix: 32 } });
  let [seen, drained, heard] = [0, 0, () => undefined];
  const hear = () => new Promise((resolve) => (heard = resolve));
  const reader = MulticastReader.open("addresses", { protocol: 0, groups: 1 << 4, restMs: ${restMs} }, {
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

  it("takes all that has come meanwhile in one go", () => {
    const said = run(
      reader(
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

  it("is closed at once", () => {
    const said = run(
      reader(
        3_600_000,
        `const first = hear(); add(1); await first;
         await reader.close();
         console.log(seen);`,
      ),
    );
    assert.equal(said, "1");
  });
});
