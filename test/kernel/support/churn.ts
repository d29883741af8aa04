/**
 * Run as a process: makes and deletes devices, addresses and routes in a namespace as fast as it can, until it is told to
 * stop by the end of its standard input. Usage: churn.ts PATH
 */
import { Rtnl } from "../../../src/netlink/index.ts";

const rtnl = Rtnl.open({ netns: process.argv[2] as string });
let stop = false;
process.stdin.on("end", () => {
  stop = true;
});
process.stdin.resume();

function round(): void {
  if (stop) return;
  for (let i = 0; i < 4; i++) {
    rtnl.execute({ op: "add", kind: "link", link: { kind: "bridge", name: "churn" } });
    const index = rtnl.link("churn")?.index as number;
    const address = { ifindex: index, ip: "10.66.0.1", prefix: 24 };
    rtnl.executeAll([
      { op: "set", kind: "link", link: { index, up: true } },
      { op: "add", kind: "address", address },
      { op: "del", kind: "address", address },
      { op: "del", kind: "link", link: { index } },
    ]);
  }
  setImmediate(round);
}

process.stdout.write("ready\n");
round();
