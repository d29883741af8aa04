/** What carries a network's frames on this node, by the network's mode. */
export { type MeasuredMtus, narrowedPath } from "./narrowed-path.ts";
export { accompaniedPath, type Companion } from "./accompanied-path.ts";
export { bridgeOf } from "./bridged-path.ts";
export { type DataPath, type DataPathStatus, type MakeDataPath, type InstancePath } from "./data-path.ts";
export { instancePath } from "./instance-path.ts";
export { routedPath } from "./routed-path.ts";
