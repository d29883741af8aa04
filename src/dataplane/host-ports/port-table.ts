/**
 * The table of host ports as a process sees it that changes a pod's elements and goes on: the plugin where no agent answers. The table is the
 * agent's to make; it stays in the kernel when the agent stops.
 */
import { ElementSocket, ElementsRefused } from "../nft/index.ts";
import { HostPortsNotReady } from "./errors.ts";
import type { PortMapping } from "./mapping.ts";
import type { Mapped } from "./records.ts";
import { HOST_PORT_TABLE, placesOf, stepsToPut, stepsToTake } from "./table.ts";

/** Where mappings come and go. */
export interface PortTable {
  /** Has the kernel map. @throws HostPortsNotReady, HostPortsUnsupported, SysError */
  put(record: Mapped): void | Promise<void>;
  /** The mappings of a pod that it does not have, or that lead elsewhere. @throws SysError, ElementsRefused */
  missing(record: Mapped): PortMapping[];
  /** Has it map no longer what no other has; what is not there is no error. @throws SysError, ElementsRefused */
  take(records: readonly Mapped[], others: readonly Mapped[]): void | Promise<void>;
}

/**
 * Puts a pod's elements into the table. An element that is there leads to a pod that is gone, as no other one has this port, and is replaced.
 * @throws ElementsRefused when there is no table, SysError
 */
export function putElements(socket: ElementSocket, record: Mapped): void {
  const steps = stepsToPut(record);
  try {
    socket.changeRaw(steps);
  } catch (error) {
    if (!(error instanceof ElementsRefused) || error.code !== "EEXIST") throw error;
    takeElements(socket, [record], []);
    socket.changeRaw(steps);
  }
}

/** Takes pods' elements out of the table, those that are there. @throws ElementsRefused, SysError */
export function takeElements(socket: ElementSocket, records: readonly Mapped[], others: readonly Mapped[]): void {
  const steps = stepsToTake(records, others);
  const isGone = (error: unknown): boolean => error instanceof ElementsRefused && error.code === "ENOENT";
  try {
    socket.changeRaw(steps);
    return;
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  // One that is not there has the whole transaction refused.
  const each = steps.flatMap((step) => ("gone" in step ? step.gone.map((one) => ({ ...step, gone: [one] })) : []));
  for (const step of each)
    try {
      socket.changeRaw([step]);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
}

/** The mappings of a pod that the table does not have, or that lead elsewhere. @throws SysError, ElementsRefused */
export function missingElements(socket: ElementSocket, { ips, ports }: Mapped): PortMapping[] {
  return ports.filter((mapping) =>
    placesOf({ ips, ports: [mapping] }).some(
      ({ map, key, value }) => socket.valueOf(HOST_PORT_TABLE, map, key)?.equals(value) !== true,
    ),
  );
}

/** The table in this process's network namespace. */
export const kernelTable: PortTable = {
  put(record) {
    using socket = ElementSocket.open(undefined);
    try {
      putElements(socket, record);
    } catch (error) {
      if (!(error instanceof ElementsRefused) || error.code !== "ENOENT") throw error;
      throw new HostPortsNotReady("this node has no table of host ports yet, which skylane-agent makes", {
        cause: error,
      });
    }
  },
  missing(record) {
    using socket = ElementSocket.open(undefined);
    return missingElements(socket, record);
  },
  take(records, others) {
    using socket = ElementSocket.open(undefined);
    takeElements(socket, records, others);
  },
};
