/** The way of a pod network to what is outside of it. */
export { isUplink, removeUplinks, Uplink, type UplinkOptions } from "./uplink.ts";
