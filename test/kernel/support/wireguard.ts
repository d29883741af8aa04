/** Whether this kernel has WireGuard; that of many a build machine has not, and Debian's have it (npm run test:kernels). */
import { Wireguard } from "../../../src/netlink/index.ts";

/** Why tests of encryption cannot run here; undefined where they can. */
export function missingWireguard(): string | undefined {
  using wireguard = Wireguard.open();
  return wireguard.known
    ? undefined
    : "this kernel has no WireGuard; npm run test:kernels runs it on kernels that have it";
}
