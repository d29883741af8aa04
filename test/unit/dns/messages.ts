/** DNS messages for tests, written as servers write them. */

export interface TestRecord {
  owner: string;
  type: "A" | "AAAA" | "CNAME" | "TXT";
  ttl?: number;
  data: Buffer;
}

const TYPE = { A: 1, CNAME: 5, TXT: 16, AAAA: 28 } as const;

/** A name without pointers. */
export const nameBytes = (name: string): Buffer =>
  Buffer.concat([
    ...name
      .split(".")
      .filter((label) => label !== "")
      .flatMap((label) => [Buffer.from([label.length]), Buffer.from(label, "latin1")]),
    Buffer.from([0]),
  ]);

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
const u32 = (value: number): Buffer => Buffer.concat([u16(value >>> 16), u16(value & 0xffff)]);

/** A message with one question and these answers. @param flags by default those of an answer without an error */
export function answerBytes(
  asked: string,
  records: readonly TestRecord[],
  options: { flags?: number; type?: TestRecord["type"] } = {},
): Buffer {
  const { flags = 0x8180, type = "A" } = options;
  return Buffer.concat([
    ...[0x1234, flags, 1, records.length, 0, 0].map(u16),
    nameBytes(asked),
    u16(TYPE[type]),
    u16(1),
    ...records.flatMap((one) => [
      // Where the question's name is meant, servers point to it.
      one.owner === asked ? Buffer.from([0xc0, 12]) : nameBytes(one.owner),
      u16(TYPE[one.type]),
      u16(1),
      u32(one.ttl ?? 60),
      u16(one.data.length),
      one.data,
    ]),
  ]);
}
