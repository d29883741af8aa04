/** A link whose pod's address others send to all the while, as to that of a pod before it, or as a scan does. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { familyOf } from "../../../src/addr/index.ts";
import { attach, detach, pingOnce, testNode, testPod } from "./support.ts";

/** Sends datagrams to an address as fast as it can, says so once, and does not mind where nobody has it. */
const CROWD = `
  const [ip] = process.argv.slice(1);
  const socket = require("node:dgram").createSocket(ip.includes(":") ? "udp6" : "udp4");
  const send = () => {
    for (let n = 0; n < 100; n++) socket.send("x", 9, ip, () => {});
    setImmediate(send);
  };
  socket.bind(0, () => {
    send();
    console.log("on");
  });
`;
const LINKS = 12;

describe("a pod's link, while others send to its address", () => {
  for (const family of [4, 6] as const)
    it(`answers the first packet over IPv${family} once it is made`, async () => {
      const node = testNode();
      const lost: number[] = [];
      for (let n = 0; n < LINKS; n++) {
        const pod = testPod();
        const ip = pod.addresses.find((one) => familyOf(one) === family) as string;
        const crowd = node.spawn(process.execPath, ["-e", CROWD, ip], { stdio: ["ignore", "pipe", "inherit"] });
        try {
          await once(crowd.stdout as NodeJS.ReadableStream, "data");
          attach(node, pod);
          try {
            pingOnce(node, ip);
          } catch {
            lost.push(n);
          }
        } finally {
          crowd.kill("SIGKILL");
          await once(crowd, "exit");
        }
        detach(node, pod);
      }
      assert.deepEqual(lost, []);
    });
});
