/** Names in DNS messages (RFC 1035, sections 3.1 and 4.1.4). */

/** Bytes of a whole name as it is sent, without its last zero (RFC 1035, section 2.3.4). */
const LONGEST = 254;
const POINTER = 0xc0;

/** A name, and where what follows it begins. */
export interface ReadName {
  /** Small letters, labels with dots between them; a dot or backslash within a label as its number (`\046`), so that it ends no label. */
  name: string;
  next: number;
}

/**
 * Reads a name. A pointer must lead to before the part of the name that it ends, so that no name is endless.
 * @returns undefined where there is no name
 */
export function readName(message: Buffer, from: number): ReadName | undefined {
  const labels: string[] = [];
  let length = 0;
  let next: number | undefined;
  for (let [at, part] = [from, from]; ; ) {
    const size = message[at];
    if (size === undefined) return undefined;
    if (size === 0) return { name: labels.join("."), next: next ?? at + 1 };
    if ((size & POINTER) === POINTER) {
      const low = message[at + 1];
      if (low === undefined) return undefined;
      next ??= at + 2;
      const target = ((size & ~POINTER) << 8) | low;
      if (target >= part) return undefined;
      [at, part] = [target, target];
      continue;
    }
    length += size + 1;
    if ((size & POINTER) !== 0 || length > LONGEST || at + size >= message.length) return undefined;
    labels.push(labelOf(message.toString("latin1", at + 1, at + 1 + size)));
    at += size + 1;
  }
}

const labelOf = (text: string): string =>
  text.toLowerCase().replaceAll(/[.\\]/g, (byte) => (byte === "." ? "\\046" : "\\092"));
