/**
 * A process that reserves and releases addresses until it has done its rounds or is killed. What it does is said on
 * stdout, one line each, written before the next step: "+ owner ip,ip" has them, "~ owner" is about to release them.
 * While it has an address it also holds a claim, a file that only one process can make: a second one is an address
 * given twice.
 *
 * That it has started it says on descriptor 3.
 *
 *   worker.ts DIR CLAIMS NAME ROUNDS POD_CIDRS
 */
import { closeSync, openSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Ipam, IpamExhausted } from "../../../src/ipam/local/index.ts";

const [dir, claims, name, rounds, podCidrs] = process.argv.slice(2) as [string, string, string, string, string];
const ipam = new Ipam({ dir });
const holding: { owner: { containerId: string; ifname: string }; ips: string[] }[] = [];
const say = (text: string) => writeSync(1, `${text}\n`);

function reserve(round: number): void {
  const owner = { containerId: `${name}-${round}`, ifname: "eth0" };
  try {
    const ips = ipam.reserve(owner, { podCidrs: podCidrs.split(",") });
    for (const ip of ips) closeSync(openSync(join(claims, ip), "wx"));
    say(`+ ${owner.containerId} ${ips.join(",")}`);
    holding.push({ owner, ips });
  } catch (error) {
    if (!(error instanceof IpamExhausted)) throw error;
  }
}

function release(): void {
  const oldest = holding.shift();
  if (!oldest) return;
  say(`~ ${oldest.owner.containerId}`);
  for (const ip of oldest.ips) unlinkSync(join(claims, ip));
  const freed = ipam.release(oldest.owner);
  if (freed.join() !== oldest.ips.join()) throw new Error(`had ${oldest.ips.join()}, freed ${freed.join()}`);
}

writeSync(3, "started\n");
for (let round = 0; round < Number(rounds); round++) {
  reserve(round);
  if (holding.length > 2) release();
}
while (holding.length > 0) release();
