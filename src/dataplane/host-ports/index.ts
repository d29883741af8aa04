/** Host ports of pods: what comes to a port of this node goes to a port of a pod on it. */
export { HostPortsNotReady, HostPortsUnsupported, HostPortTaken } from "./errors.ts";
export { type HostPortRequest, HostPorts } from "./host-ports.ts";
export { HostPortKeeper, type HostPortsStatus, type MappedHostPort } from "./keeper.ts";
export { familiesOf, hostPortText, overlap, type PortMapping, type Protocol, PROTOCOLS } from "./mapping.ts";
export { missingHostPorts } from "./missing.ts";
export { kernelTable } from "./port-table.ts";
export { HOST_PORTS, type HostPortRecord, HostPortRecords, type PortOwner } from "./records.ts";
export { HOST_PORT_TABLE, renderHostPorts, stepsToPut, stepsToTake } from "./table.ts";
