/** The fast path: on, with packets that take it, or off with a reason and everything by the ordinary path; and what the verifier says of its programs. */
import { release } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { Lab } from "../../../lab/index.ts";
import { kernelTypes, Program } from "../../../src/dataplane/bpf/index.ts";
import { Entries } from "../../../src/dataplane/fast-path/entries.ts";
import { fromDevice } from "../../../src/dataplane/fast-path/programs/from-device.ts";
import { fromPod } from "../../../src/dataplane/fast-path/programs/from-pod.ts";
import { fromSegment } from "../../../src/dataplane/fast-path/programs/from-segment.ts";
import { fromWire } from "../../../src/dataplane/fast-path/programs/from-wire.ts";
import { CONNTRACK } from "../../../src/dataplane/fast-path/programs/settled.ts";
import type { TunnelSettings } from "../../../src/dataplane/fast-path/programs/settings.ts";
import { toDevice } from "../../../src/dataplane/fast-path/programs/to-device.ts";
import type { Trial } from "./main.ts";

const BYTES = 4 << 20;
/** An agent looks twice a second; this is for the slowest of machines. */
const LIMIT_MS = 120_000;

/** Two pods on two nodes and a stream between them. @throws Error when it is neither on nor off for a reason, or bytes are lost */
export async function tryFastPath(): ReturnType<Trial> {
  const lab = await Lab.up({ name: "fast", nodes: 2, agentConfig: { fastPath: "auto" }, readyMs: LIMIT_MS });
  try {
    const [from, to] = [await lab.addPod("node1"), await lab.addPod("node2")];
    const status = async () => (await lab.status(lab.node("node1"), LIMIT_MS)).fastPath;
    const known = async () => {
      for (const start = performance.now(); performance.now() < start + LIMIT_MS; await delay(250)) {
        const now = await status();
        if (now && (now.on ? now.pods > 0 && now.prefixes > 0 : now.message !== "not looked at yet")) return now;
      }
      throw new Error(`the agent does not say how the fast path stands: ${JSON.stringify(await status())}`);
    };
    const { on, message } = await known();
    for (const ip of to.ips) {
      const { same } = await lab.transfer(from, to, ip, BYTES);
      if (!same) throw new Error(`what arrived at ${ip} is not what was sent`);
    }
    const fast =
      (await status())?.packets.filter(({ path }) => path === "fast").reduce((sum, one) => sum + one.packets, 0) ?? 0;
    console.log(JSON.stringify(await status(), null, 1));
    if (on && fast === 0) throw new Error("the fast path is on, and no packet took it");
    if (!on && fast > 0) throw new Error(`the fast path is off, and ${fast} packets took it`);
    // What the kernel called its refusal is in the log.
    return on ? { says: message } : { outcome: "refused", says: message.replace(/: E[A-Z]+ .*/, "") };
  } finally {
    await lab.down();
  }
}

/** Before Linux 6.6 programs are attached so that they outlive the agent. */
const [major = 0, minor = 0] = release().split(".").map(Number);
const TUNNEL: TunnelSettings = {
  vni: 4_096,
  port: 4_789,
  mac: "02:00:00:00:00:01",
  underlayIp: "172.30.0.1",
  mtu: 1_450,
  device: 1,
  inbound: "underlay",
  uplink: 1,
  encapsulate: true,
  direct: true,
  outlives: major < 6 || (major === 6 && minor < 6),
  hops: 64,
  lengths: { 4: [32, 24], 6: [128, 64] },
  ports: [32_768, 60_999],
};

/** Has the kernel take the programs, and prints what its verifier says. */
export async function verify(): ReturnType<Trial> {
  const lifetimes = { tcp: 432_000_000, udp: 120_000 };
  try {
    using types = await kernelTypes(CONNTRACK, ["nf_conntrack"]);
    using entries = new Entries({ pods: 250, peers: 5_000 });
    const offsets = {
      status: types.offset("nf_conn.status"),
      tcpState: types.offset("nf_conn.proto") + types.offset("ip_ct_tcp.state"),
    };
    const programs = {
      sky_from_pod: fromPod(TUNNEL, lifetimes, offsets),
      sky_from_wire: fromWire(TUNNEL, lifetimes, offsets),
      sky_from_segmt: fromSegment(TUNNEL, lifetimes, offsets),
      sky_from_tunnel: fromDevice(TUNNEL, lifetimes, offsets),
      sky_to_device: toDevice(TUNNEL),
    };
    const looked = Object.entries(programs).map(([name, assembly]) => {
      let said = "";
      using _program = Program.load(name, assembly, entries.maps, types, (log) => (said = log));
      console.log(`${name}: ${said.trim()}`);
      return Number(/^processed (\d+) insns/m.exec(said)?.[1]);
    });
    return { says: `the verifier looks at ${looked.join(", ")} instructions` };
  } catch (error) {
    console.log(error);
    return {
      outcome: "refused",
      says: (error instanceof Error ? error.message : String(error)).split("\n", 1)[0] ?? "",
    };
  }
}
