/** Who talks to whom: flows of pods, remembered in a bounded table and counted by namespace. */
export { FilterError, type FlowFilter, readFilter } from "./filter.ts";
export {
  type Flow,
  type FlowAnswer,
  type FlowCount,
  type FlowEnd,
  FlowTable,
  type FlowVerdict,
  type WhoHas,
} from "./flow-table.ts";
export { Flows, type FlowsOptions, type FlowsStatus } from "./flows.ts";
export { restoreAccounting } from "./accounting.ts";
