/** Settings of bridges and of their ports out of the kernel's attributes. */
import { BR_BOOLOPT_NO_LL_LEARN, BR_STATE_FORWARDING, IFLA, IFLA_BR, IFLA_BRPORT } from "../constants.ts";
import type { BridgePort, BridgeSettings } from "../types.ts";
import { eachAttribute, u8, u32, u32At } from "./attributes.ts";

/** @throws MalformedMessage */
export function bridgeSettings(data: Buffer): BridgeSettings {
  const settings: BridgeSettings = { mcastSnooping: false };
  eachAttribute(data, 0, (type, value) => {
    if (type === IFLA_BR.MCAST_SNOOPING) settings.mcastSnooping = u8(value) !== 0;
    else if (type === IFLA_BR.MULTI_BOOLOPT) settings.linkLocalLearning = (u32(value) & BR_BOOLOPT_NO_LL_LEARN) === 0;
    else if (type === IFLA_BR.FDB_MAX_LEARNED) settings.fdbMaxLearned = u32(value);
  });
  return settings;
}

const KEYS: ReadonlyMap<number, keyof BridgePort> = new Map([
  [IFLA_BRPORT.LEARNING, "learning"],
  [IFLA_BRPORT.UNICAST_FLOOD, "unicastFlood"],
  [IFLA_BRPORT.MCAST_FLOOD, "mcastFlood"],
  [IFLA_BRPORT.BCAST_FLOOD, "bcastFlood"],
  [IFLA_BRPORT.NEIGH_SUPPRESS, "neighSuppress"],
  [IFLA_BRPORT.ISOLATED, "isolated"],
  [IFLA_BRPORT.LOCKED, "locked"],
  [IFLA_BRPORT.MAB, "mab"],
]);
const WANTED: ReadonlySet<number> = new Set([...KEYS.keys(), IFLA_BRPORT.STATE]);

/** Settings that the kernel does not know are off. @throws MalformedMessage */
export function portSettings(data: Buffer): BridgePort {
  const port: BridgePort = {
    learning: false,
    unicastFlood: false,
    mcastFlood: false,
    bcastFlood: false,
    neighSuppress: false,
    isolated: false,
    locked: false,
  };
  const take = (type: number, value: Buffer): void => {
    const key = KEYS.get(type);
    if (key === undefined) port.forwarding = u8(value) === BR_STATE_FORWARDING;
    else port[key] = u8(value) !== 0;
  };
  eachAttribute(data, 0, take, WANTED);
  return port;
}

/** Length of struct ifinfomsg. */
const HEADER = 16;

/** A message of family AF_BRIDGE about a port. @throws MalformedMessage */
export function decodeBridgePort(data: Buffer): { ifindex: number; master?: number; port?: BridgePort } {
  const found: { ifindex: number; master?: number; port?: BridgePort } = { ifindex: u32At(data, 4) | 0 };
  eachAttribute(data, HEADER, (type, value) => {
    if (type === IFLA.MASTER) found.master = u32(value);
    else if (type === IFLA.PROTINFO) found.port = portSettings(value);
  });
  return found;
}
