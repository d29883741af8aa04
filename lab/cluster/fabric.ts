/**
 * The underlay: a network namespace with a switch (a bridge) in it and one cable (a veth pair) to every node. The
 * namespace has no name anywhere; a process that only sleeps holds it, so that the lab's last trace goes with the
 * lab's last process.
 */
import { spawn } from "node:child_process";
import { readlinkSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { entering, run, tryRun } from "../exec.ts";
import {
  type Addressing,
  GATEWAY,
  portName,
  UNDERLAY_PREFIX,
  underlayFamilies,
  underlayIp,
  SWITCH_MAC,
  underlayMac,
} from "./names.ts";
import { isRunning, type ProcessId, processId } from "./processes.ts";

/** The switch's name in the fabric's namespace. */
export const SWITCH = "switch0";

/** Runs ip(8) with a list of commands, in order, inside a process's network. @throws Error with the command that failed */
async function ipBatch(pid: number, commands: readonly string[]): Promise<void> {
  await run(entering({ pid }, "ip", ["-batch", "-"]), { input: commands.map((line) => `${line}\n`).join("") });
}

/** Starts the process that holds the fabric's namespace, and tells `record` about it before anything else happens. */
export async function startFabric(env: NodeJS.ProcessEnv, record: (holder: ProcessId) => void): Promise<ProcessId> {
  const child = spawn("unshare", ["--net", "--", "sleep", "infinity"], {
    detached: true,
    stdio: "ignore",
    env,
    cwd: "/",
  });
  const failed = new Promise<never>((_, reject) => {
    child.once("error", (cause) => reject(new Error("cannot run unshare(1)", { cause })));
    child.once("exit", (status) => reject(new Error(`unshare(1) ended with status ${status}; is this process root?`)));
  });
  child.unref();
  const entered = async (): Promise<ProcessId> => {
    const own = readlinkSync("/proc/self/ns/net");
    const holder = child.pid === undefined ? undefined : processId(child.pid);
    if (!holder) throw new Error("the fabric's process ended at once");
    record(holder);
    // unshare(1) has no way to say that it is done; it takes about a millisecond.
    while (isRunning(holder) && readlinkSync(`/proc/${holder.pid}/ns/net`) === own) await delay(1);
    return holder;
  };
  const started = entered();
  try {
    return await Promise.race([started, failed]);
  } finally {
    failed.catch(() => undefined);
  }
}

/** Makes the switch. */
export async function buildSwitch(fabric: number, addressing: Addressing): Promise<void> {
  await ipBatch(fabric, [
    "link set lo up",
    // An address of its own: a bridge otherwise takes its lowest port's, and with every node that comes or goes the
    // others would talk to an address that nobody has any more until their ARP entries expire.
    // No snooping: without a querier it would in the end hold back neighbour solicitations.
    `link add ${SWITCH} address ${SWITCH_MAC} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
    ...underlayFamilies(addressing).map(
      (family) =>
        `address add ${GATEWAY[family]}/${UNDERLAY_PREFIX[family]} dev ${SWITCH}${family === 6 ? " nodad" : ""}`,
    ),
    `link set ${SWITCH} up`,
  ]);
}

/** Plugs a node in: a cable from its port to its eth0, with the node's addresses on it. */
export async function plugIn(fabric: number, init: number, number: number, addressing: Addressing): Promise<void> {
  const port = portName(number);
  await ipBatch(fabric, [
    `link add ${port} type veth peer name eth0 address ${underlayMac(number)} netns ${init}`,
    `link set ${port} master ${SWITCH} up`,
  ]);
  await ipBatch(init, [
    "link set lo up",
    ...underlayFamilies(addressing).map(
      (family) =>
        `address add ${underlayIp(number, family)}/${UNDERLAY_PREFIX[family]} dev eth0${family === 6 ? " nodad" : ""}`,
    ),
    "link set eth0 up",
    ...underlayFamilies(addressing).map(
      (family) => `route add ${family === 4 ? "0.0.0.0/0" : "::/0"} via ${GATEWAY[family]} dev eth0`,
    ),
  ]);
}

/** Takes a node's cable away, if it is there. The kernel would do so too when the node's namespace goes, but later. */
export async function unplug(fabric: number, number: number): Promise<void> {
  const port = portName(number);
  const { status, stderr } = await tryRun(entering({ pid: fabric }, "ip", ["link", "delete", port]));
  if (status === 0) return;
  const links = JSON.parse(await run(entering({ pid: fabric }, "ip", ["-json", "link", "show"]))) as {
    ifname: string;
  }[];
  if (links.some(({ ifname }) => ifname === port)) throw new Error(`cannot delete ${port}: ${stderr.trim()}`);
}

/** Bridge port states (linux/if_bridge.h): nothing passes, everything passes. */
const DISABLED = "0";
const FORWARDING = "3";

/**
 * Cuts a node off: "silent" loses its packets in the switch while its link stays up, as when a cable behind the
 * next switch is cut; "unplugged" takes its carrier away.
 */
export async function cut(fabric: number, number: number, how: "silent" | "unplugged"): Promise<void> {
  const port = portName(number);
  if (how === "unplugged") await ipBatch(fabric, [`link set ${port} down`]);
  else await run(entering({ pid: fabric }, "bridge", ["link", "set", "dev", port, "state", DISABLED]));
}

/** Undoes {@link cut}. */
export async function mend(fabric: number, number: number, how: "silent" | "unplugged"): Promise<void> {
  const port = portName(number);
  if (how === "unplugged") await ipBatch(fabric, [`link set ${port} up`]);
  else await run(entering({ pid: fabric }, "bridge", ["link", "set", "dev", port, "state", FORWARDING]));
}
