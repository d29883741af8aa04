/**
 * Regular expressions of Skylane's schemas, for every API server: what a value looks like, short enough for the message that quotes
 * it. What it means, as that no bits are behind a CIDR's prefix, is for the rules in CEL.
 */

export const CIDR_PATTERN = "^[0-9A-Fa-f:.]+/[0-9]{1,3}$";
export const IP_PATTERN = "^[0-9A-Fa-f:.]+$";
/** Six pairs, not of a group (IEEE 802 I/G bit). */
export const MAC_PATTERN = "^[0-9A-Fa-f][02468ACEace]([:-][0-9A-Fa-f]{2}){5}$";
export const NETWORK_PATTERN = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$";
/** An IPClaim that holds an address: NAMESPACE/NAME/UID. */
export const HOLDER_PATTERN = "^[^/]+/[^/]+/[^/]+$";
