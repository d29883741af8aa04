/** The data path of a network with a namespace of its own, by its mode. */
import { BridgedPath, type BridgedPathOptions } from "./bridged-path.ts";
import { ClaimsPath, type ClaimsPathOptions } from "./claims-path.ts";
import type { InstancePath } from "./data-path.ts";
import type { DataPathListener } from "../observe/index.ts";
import type { LocalNetwork } from "../peers/index.ts";

/** Makes it. */
export const instancePath = (
  options: BridgedPathOptions & ClaimsPathOptions,
  local: LocalNetwork,
  listener: DataPathListener,
): InstancePath =>
  options.info.mode === "Bridged"
    ? new BridgedPath(options, local, listener)
    : new ClaimsPath(options, local, listener);
