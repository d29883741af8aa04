/** What a lab is like: the choices of whoever makes one. */
import { randomBytes } from "node:crypto";
import type { Progress } from "./context.ts";
import type { Addressing } from "./names.ts";
import type { LabRecord } from "./records.ts";

/** What a lab may be made with. */
export interface LabOptions {
  /** "lab" by default. */
  name?: string;
  /** Number of nodes, 3 by default. */
  nodes?: number;
  addressing?: Addressing;
  vni?: number;
  /** UDP port of VXLAN. */
  port?: number;
  /** Further keys of every node's agent configuration. */
  agentConfig?: Record<string, unknown>;
  /** Where nodes have Skylane's executables from, by the node's name; where the lab has its own by default. What lies there may change. */
  binDirs?: Record<string, string>;
  /** Directory of all labs. */
  base?: string;
  /** Return as soon as the nodes run, not when every peer is programmed. */
  dontWait?: boolean;
  /** How long to wait for that, in milliseconds (120,000). */
  readyMs?: number;
  progress?: Progress;
  /** Stops `up` between two steps. */
  signal?: AbortSignal;
}

/** What is written down of a new lab: its choices, and a run of its own by which its processes are known. */
export function newRecord(name: string, options: LabOptions): LabRecord {
  const { addressing = "dual-stack", vni = 4096, port = 4789, agentConfig = {}, binDirs } = options;
  const runId = randomBytes(16).toString("hex");
  const made = { addressing, vni, port, agentConfig, ...(binDirs && { binDirs }) };
  return { version: 1, name, runId, ...made, created: new Date().toISOString() };
}
