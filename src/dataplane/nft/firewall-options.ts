/** What a firewall is told, and what it says of itself. */
import type { Logger } from "../../log/index.ts";
import type { AnswersOf } from "./rules/ruleset.ts";
import type { RunTool } from "./run.ts";

export interface FirewallOptions {
  /** Namespace to work in; the process's own when absent. */
  netns?: number | string;
  logger: Logger;
  /** Ends of uplinks were on this host before anybody says so: what holds them in goes with the first table that is put in place. */
  uplinks?: boolean;
  /** Pods that leave the cluster by other nodes; asked whenever the table is put in place. None by default. */
  answers?: AnswersOf;
  /** Accept our traffic where a FORWARD policy is drop; true by default. */
  forwardPolicy?: boolean;
  /** Something of ours was put right that somebody else had changed. */
  onRepair?: (kind: "nft" | "forward") => void;
  /** A transaction of our table ended. */
  onApply?: (result: "ok" | "error", seconds: number) => void;
  /** How often FORWARD chains of legacy iptables are looked at, in milliseconds; 10,000 by default. */
  legacyLookMs?: number;
  /** Runs tools; for tests. */
  run?: RunTool;
}

export interface FirewallStatus {
  /** The table is in place: the last attempt succeeded. */
  ready: boolean;
  /** Why it is not, or why a FORWARD chain could not be looked at. */
  error?: string;
  /** What this kernel cannot do, in words. */
  degraded: string[];
  /** FORWARD chains whose policy is drop and that accept our traffic. */
  acceptedForward: number;
  repairs: { nft: number; forward: number };
}
