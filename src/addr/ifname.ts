/** Names of network interfaces: what the kernel takes, less what nobody could mean. */

/** Longest name that Linux has, in bytes (IFNAMSIZ less the terminating zero). */
const MAX_IFNAME = 15;

/** Why a text is no interface name; undefined when it is one (the kernel's dev_valid_name). */
export function interfaceNameFault(name: string): string | undefined {
  if (name === "") return "must not be empty";
  if (Buffer.byteLength(name) > MAX_IFNAME) return `must not be longer than ${MAX_IFNAME} bytes`;
  if (name === "." || name === "..") return 'must not be "." or ".."';
  // The kernel would make a name of its own from a template ("eth%d"), and nobody would know which.
  if (name.includes("%")) return "must not contain a percent sign";
  // These two name the settings of all devices under /proc/sys/net.
  if (name === "all" || name === "default") return 'must not be "all" or "default"';
  // The kernel's own rule, and no control characters, which would only hide in a listing.
  if (/[/:\s\p{Cc}]/u.test(name)) return "must not contain a slash, a colon, white space or control characters";
  return undefined;
}
