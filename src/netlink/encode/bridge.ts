/** Settings of bridges and of their ports as attributes (linux/if_link.h IFLA_BR_*, IFLA_BRPORT_*). */
import { BR_BOOLOPT_NO_LL_LEARN, BR_STATE_FORWARDING, IFLA_BR, IFLA_BRPORT } from "../constants.ts";
import type { BridgePort, BridgeSettings, PortSettings } from "../types.ts";
import type { MessageWriter } from "../transport/writer.ts";

/** The attribute of each setting of a port. */
const PORT_ATTRIBUTES: Readonly<Record<keyof PortSettings, number>> = {
  learning: IFLA_BRPORT.LEARNING,
  unicastFlood: IFLA_BRPORT.UNICAST_FLOOD,
  mcastFlood: IFLA_BRPORT.MCAST_FLOOD,
  bcastFlood: IFLA_BRPORT.BCAST_FLOOD,
  neighSuppress: IFLA_BRPORT.NEIGH_SUPPRESS,
  isolated: IFLA_BRPORT.ISOLATED,
  locked: IFLA_BRPORT.LOCKED,
  mab: IFLA_BRPORT.MAB,
};

/** The settings of a bridge that are given. */
export function bridgeSettings(w: MessageWriter, settings: Partial<BridgeSettings>): void {
  const { mcastSnooping, linkLocalLearning, fdbMaxLearned } = settings;
  if (mcastSnooping !== undefined) w.attributeU8(IFLA_BR.MCAST_SNOOPING, mcastSnooping ? 1 : 0);
  if (linkLocalLearning !== undefined) {
    // struct br_boolopt_multi: the values, and which of them count.
    const options = Buffer.alloc(8);
    options.writeUInt32LE(linkLocalLearning ? 0 : BR_BOOLOPT_NO_LL_LEARN, 0);
    options.writeUInt32LE(BR_BOOLOPT_NO_LL_LEARN, 4);
    w.attribute(IFLA_BR.MULTI_BOOLOPT, options);
  }
  if (fdbMaxLearned !== undefined) w.attributeU32(IFLA_BR.FDB_MAX_LEARNED, fdbMaxLearned);
}

/** The settings of a port that are given. */
export function portSettings(w: MessageWriter, port: Partial<BridgePort>): void {
  if (port.forwarding) w.attributeU8(IFLA_BRPORT.STATE, BR_STATE_FORWARDING);
  for (const key of Object.keys(PORT_ATTRIBUTES) as (keyof PortSettings)[]) {
    const value = port[key];
    if (value !== undefined) w.attributeU8(PORT_ATTRIBUTES[key], value ? 1 : 0);
  }
}
