/**
 * The addresses that an answer gives the name that was asked for (RFC 1035, RFC 3596): those of the name itself, or of the one at the end of its aliases
 * (CNAME). Records of other names are no answer to the question, whoever put them there.
 */
import { bytesToIp } from "../addr/index.ts";
import { readName } from "./names.ts";

export interface DnsAnswer {
  /** Small letters, without a dot at the end. */
  name: string;
  /** None where the name has none of the kind that was asked for. */
  addresses: { ip: string /** Seconds, the least on the way there. */; ttl: number }[];
}

const HEADER = 12;
/** Of a record behind its name: type, class, TTL, length. */
const RECORD = 10;
const FLAG = { ANSWER: 0x8000, OPCODE: 0x7800, RCODE: 0x000f } as const;
const CLASS_IN = 1;
const TYPE = { A: 1, CNAME: 5, AAAA: 28 } as const;
const SIZE = { [TYPE.A]: 4, [TYPE.AAAA]: 16 } as const;
/** More than any answer has that somebody means. */
const MOST_RECORDS = 256;
const MOST_ALIASES = 16;
/** RFC 2181, section 8: a TTL with the highest bit set is none. */
const LONGEST_TTL = 0x7fff_ffff;

interface Records {
  aliases: Map<string, { to: string; ttl: number }>;
  addresses: Map<string, DnsAnswer["addresses"]>;
}

/** Reads a message. @returns undefined where it is no answer to one question, or cannot be read that far */
export function readAnswer(message: Buffer): DnsAnswer | undefined {
  if (message.length < HEADER) return undefined;
  const flags = message.readUInt16BE(2);
  const isAnswer = (flags & FLAG.ANSWER) !== 0 && (flags & (FLAG.OPCODE | FLAG.RCODE)) === 0;
  if (!isAnswer || message.readUInt16BE(4) !== 1) return undefined;
  const question = readName(message, HEADER);
  if (!question || question.next + 4 > message.length) return undefined;
  if (message.readUInt16BE(question.next + 2) !== CLASS_IN) return undefined;
  const records = readRecords(message, question.next + 4, Math.min(message.readUInt16BE(6), MOST_RECORDS));
  return records && { name: question.name, addresses: addressesOf(question.name, records) };
}

function readRecords(message: Buffer, from: number, count: number): Records | undefined {
  const records: Records = { aliases: new Map(), addresses: new Map() };
  for (let [i, at] = [0, from]; i < count; i++) {
    const owner = readName(message, at);
    if (!owner || owner.next + RECORD > message.length) return undefined;
    const data = owner.next + RECORD;
    const [type, size] = [message.readUInt16BE(owner.next), message.readUInt16BE(data - 2)];
    at = data + size;
    if (at > message.length) return undefined;
    if (message.readUInt16BE(owner.next + 2) !== CLASS_IN) continue;
    const said = message.readUInt32BE(owner.next + 4);
    const ttl = said > LONGEST_TTL ? 0 : said;
    if (type === TYPE.CNAME) {
      const to = readName(message, data);
      if (!to || to.next !== at) return undefined;
      if (!records.aliases.has(owner.name)) records.aliases.set(owner.name, { to: to.name, ttl });
    } else if (type === TYPE.A || type === TYPE.AAAA) {
      if (size !== SIZE[type]) return undefined;
      const known = records.addresses.get(owner.name);
      const address = { ip: bytesToIp(message.subarray(data, at)), ttl };
      if (known) known.push(address);
      else records.addresses.set(owner.name, [address]);
    }
  }
  return records;
}

function addressesOf(asked: string, { aliases, addresses }: Records): DnsAnswer["addresses"] {
  let [name, least] = [asked, LONGEST_TTL];
  for (let hops = 0; hops <= MOST_ALIASES; hops++) {
    const found = addresses.get(name);
    if (found) return found.map(({ ip, ttl }) => ({ ip, ttl: Math.min(ttl, least) }));
    const alias = aliases.get(name);
    if (!alias) return [];
    [name, least] = [alias.to, Math.min(least, alias.ttl)];
  }
  return [];
}
