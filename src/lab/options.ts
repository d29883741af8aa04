/** What a lab is like: the choices of whoever makes one. */
import type { Progress } from "./context.ts";
import type { Addressing } from "./names.ts";

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
  /** Directory of all labs. */
  base?: string;
  /** Return as soon as the nodes run, not when every peer is programmed. */
  dontWait?: boolean;
  /** How long to wait for that, in milliseconds (60,000). */
  readyMs?: number;
  progress?: Progress;
  /** Stops `up` between two steps. */
  signal?: AbortSignal;
}
