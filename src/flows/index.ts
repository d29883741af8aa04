/** Who talks to whom: flows of pods, remembered in a bounded table and counted by namespace. */
export { FilterError, type FlowFilter, readFilter } from "./filter.ts";
export {
  type Flow,
  type FlowAnswer,
  type FlowCount,
  type FlowEnd,
  type FlowPlace,
  FlowTable,
  type FlowVerdict,
  type WhoHas,
} from "./flow-table.ts";
export { type FlowNetwork, Flows, type FlowsOfNetwork, type FlowsOptions, type FlowsStatus } from "./flows.ts";
export { accountIn, restoreAccounting } from "./accounting.ts";
export { type NamedService, ServiceNames, type ServiceName } from "./service-names.ts";
