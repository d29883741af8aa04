/** Values in annotations that ask for interfaces. */
import { familyOf, interfaceNameFault, ipScope, parseInterfaceAddress, parseIp } from "../../addr/index.ts";
import { shown } from "../object.ts";
import { SelectionError } from "./selection-syntax.ts";

/** @throws SelectionError */
export function wrong(key: string, value: unknown, wanted: string): never {
  throw new SelectionError(`annotation ${key}: ${shown(value)} is not ${wanted}`);
}

/** An interface's name. @throws SelectionError */
export function interfaceOf(key: string, value: unknown): string {
  if (typeof value !== "string") return wrong(key, value, "an interface's name");
  const fault = interfaceNameFault(value);
  if (fault !== undefined) throw new SelectionError(`annotation ${key}: interface ${shown(value)} ${fault}`);
  return value;
}

/** Addresses, with or without the prefix length that the standard allows: the network's own counts. @throws SelectionError */
export function addressesOf(key: string, value: unknown): string[] {
  if (!Array.isArray(value)) return wrong(key, value, "a list of addresses");
  const ips = (value as unknown[]).map((one) => addressOf(key, one));
  return new Set(ips.map(familyOf)).size === ips.length ? ips : wrong(key, value, "at most one address a family");
}

function addressOf(key: string, value: unknown): string {
  const wanted = "a unicast IP address";
  if (typeof value !== "string") return wrong(key, value, wanted);
  let ip: string;
  try {
    ip = value.includes("/") ? parseInterfaceAddress(value).ip : parseIp(value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return wrong(key, value, wanted);
  }
  return ipScope(ip) === "unicast" ? ip : wrong(key, value, wanted);
}
