/** Whether this kernel can lock the ports of a bridge (Linux 5.16), without which there are no bridged networks. */
import { execFileSync } from "node:child_process";

const TRIAL =
  "ip link add trial type bridge && ip link add port type veth peer name pod && ip link set port master trial && " +
  "bridge link set dev port locked on && bridge -details link show dev port";

/** Why tests of bridged networks cannot run here; undefined where they can. */
export function missingLockedPorts(): string | undefined {
  // A kernel that does not know the attribute takes it for nothing.
  const port = execFileSync("unshare", ["--net", "sh", "-c", TRIAL], { encoding: "utf8" });
  return port.includes("locked on")
    ? undefined
    : "this kernel locks no bridge ports; bridged networks need Linux 5.16 or later";
}
