/**
 * MAC addresses as canonical text: six lower-case hexadecimal pairs with colons.
 */
import { ipToBytes, printable } from "./ip.ts";
import { sha256 } from "./sha256.ts";

/**
 * Parses a unicast MAC address and returns its canonical text; hyphens are accepted as separators.
 * @throws RangeError naming the text when it is none, is all zero, or is a group address (IEEE 802 I/G bit).
 */
export function parseMac(text: string): string {
  const mac = text.toLowerCase().replaceAll("-", ":");
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac)) throw new RangeError(`"${printable(text)}" is not a MAC address`);
  if (mac === "00:00:00:00:00:00") throw new RangeError(`"${mac}" is the all-zero MAC address`);
  if (Number.parseInt(mac.slice(0, 2), 16) & 1)
    throw new RangeError(`"${mac}" is a group MAC address, not a unicast one`);
  return mac;
}

/** The six bytes of a canonical MAC address. */
export function macToBytes(mac: string): Uint8Array {
  const out = new Uint8Array(6);
  for (let i = 0; i < 6; i++) out[i] = Number.parseInt(mac.slice(i * 3, i * 3 + 2), 16);
  return out;
}

/** Each byte's two digits: dumps of tables have MAC addresses by the ten thousand. */
const PAIRS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** The canonical text of six bytes. */
export function bytesToMac(bytes: Uint8Array): string {
  let text = "";
  for (const [i, byte] of bytes.entries()) text += i === 0 ? PAIRS[byte] : `:${PAIRS[byte]}`;
  return text;
}

/**
 * A MAC address derived from a name: locally administered and unicast (IEEE 802 U/L set, I/G clear), the
 * same for the same seed on every machine and after every reboot.
 */
export function derivedMac(seed: string): string {
  const bytes = sha256(seed).subarray(0, 6);
  bytes[0] = ((bytes[0] as number) & 0xfc) | 0x02;
  return bytesToMac(bytes);
}

/** The interface identifier of an EUI-48 address as the link-local address that stands on it (RFC 4291, appendix A). */
export function linkLocalOf(mac: string): string {
  const b = macToBytes(mac);
  const part = (hi: number, lo: number) => (((hi << 8) | lo) >>> 0).toString(16);
  const [b0, b1, b2, b3, b4, b5] = b as unknown as [number, number, number, number, number, number];
  return `fe80::${part(b0 ^ 2, b1)}:${part(b2, 0xff)}:${part(0xfe, b3)}:${part(b4, b5)}`;
}

/** The MAC address that a canonical link-local address stands on, as {@link linkLocalOf} makes it; undefined when it stands on none. */
export function macOfLinkLocal(ip: string): string | undefined {
  if (!ip.startsWith("fe80::")) return undefined;
  const b = ipToBytes(ip);
  if (b[11] !== 0xff || b[12] !== 0xfe) return undefined;
  return bytesToMac(Uint8Array.of((b[8] as number) ^ 2, ...b.subarray(9, 11), ...b.subarray(13)));
}
