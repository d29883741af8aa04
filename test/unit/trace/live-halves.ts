/** What two nodes have seen of a marked packet that went through the tunnel and was answered. */
import type { LiveHalf, Seen } from "../../../src/cli/trace/live/types.ts";

/** Where the packet and its answer are seen, in order: hook, and whether it is inside VXLAN. */
const PLACES = {
  source: [
    ["request", "prerouting", false],
    ["request", "forward", false],
    ["request", "postrouting", false],
    ["request", "output", true],
    ["request", "postrouting", true],
    ["answer", "prerouting", true],
    ["answer", "input", true],
    ["answer", "prerouting", false],
    ["answer", "forward", false],
    ["answer", "postrouting", false],
  ],
  destination: [
    ["request", "prerouting", true],
    ["request", "input", true],
    ["request", "prerouting", false],
    ["request", "forward", false],
    ["request", "postrouting", false],
    ["answer", "prerouting", false],
    ["answer", "forward", false],
    ["answer", "postrouting", false],
    ["answer", "output", true],
    ["answer", "postrouting", true],
  ],
} as const;

/** @param most of the places in their order, as many as packets have come to */
export function liveHalf(role: "source" | "destination", most = 10, more: Partial<LiveHalf> = {}): LiveHalf {
  const seen = PLACES[role].slice(0, most).map(([kind, hook, outer]): Seen => ({ kind, hook, outer, packets: 1 }));
  return {
    version: 1,
    node: role === "source" ? "node1" : "node2",
    role,
    seen,
    dropped: [],
    passed: [],
    ...(role === "source" && { sent: { packets: 1 } }),
    ...more,
  };
}
