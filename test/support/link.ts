/** A device as a dump shows it, for tests without a kernel. */
import type { Link } from "../../src/netlink/index.ts";

/** A device that is up, in no group and of no virtual kind; `more` is what is else about it. */
export const linkOf = (index: number, name: string, more: Partial<Link> = {}): Link => ({
  index,
  name,
  mtu: 1500,
  up: true,
  lowerUp: true,
  loopback: false,
  group: 0,
  ...more,
});
