/**
 * How the launcher (cmd/launcher) hands a CNI request to the agent and gets its answer, as bytes and as plain data. The
 * launcher's source says what each side sends when; numbers are in the byte order of the machine.
 */
import { endianness } from "node:os";
import type { NetnsIdentity } from "../sys/index.ts";
import { HALF_KEY } from "./launcher-key.ts";

const MAGIC = Buffer.from("skylane3");
/** magic, two lengths, a namespace's device and inode, half a key. */
const KEY = MAGIC.length + 2 * 4 + 2 * 8;
const HEAD = KEY + HALF_KEY;
/** Largest sizes that are read, in bytes: the launcher's own limits, which the plugin has for the configuration as well. */
const MAX_VARIABLES = 64 * 1024;
const MAX_CONFIGURATION = 1024 * 1024;

/** Verdicts of the agent on a request, the first with its half of the key, and the launcher's word that the runtime has the answer. */
export const accepted = (key: Uint8Array): Buffer => Buffer.concat([Buffer.from("A"), key]);
export const DECLINED = Buffer.from("D");
export const DELIVERED = "K".charCodeAt(0);

const little = endianness() === "LE";
const u32 = (b: Buffer, at: number): number => (little ? b.readUInt32LE(at) : b.readUInt32BE(at));
// Inode and device numbers of namespaces are far below 2^53; what is not can be no namespace.
const u64 = (b: Buffer, at: number): number => Number(little ? b.readBigUInt64LE(at) : b.readBigUInt64BE(at));

/** A request as the launcher sent it. */
export interface LauncherRequest {
  /** The CNI_* variables and SKYLANE_REQUEST. */
  env: Record<string, string>;
  configuration: Buffer;
  /** The network namespace that the launcher ran in. */
  own: NetnsIdentity;
  /** Half of the key, as the launcher has it. */
  key: Uint8Array;
}

/** Puts a request together from what arrives; one for each connection. It holds no more than the request says, whatever comes in however many pieces. */
export class RequestReader {
  #all = Buffer.alloc(HEAD);
  #length = 0;
  #headRead = false;

  /**
   * Takes the next bytes. Returns the request once it is whole.
   * @throws RangeError when they cannot be one: then nothing more may be read
   */
  push(chunk: Buffer): LauncherRequest | undefined {
    let rest = this.#take(chunk);
    if (!this.#headRead) {
      if (this.#length < HEAD) return undefined;
      this.#headRead = true;
      const whole = Buffer.allocUnsafe(lengths(this.#all).reduce((sum, length) => sum + length, HEAD));
      this.#all.copy(whole);
      this.#all = whole;
      rest = this.#take(rest);
    }
    if (this.#length < this.#all.length) return undefined;
    if (rest.length > 0) throw new RangeError(`${rest.length} bytes after the request`);
    return decode(this.#all);
  }

  /** @returns what there was no room for */
  #take(chunk: Buffer): Buffer {
    const taken = chunk.copy(this.#all, this.#length);
    this.#length += taken;
    return chunk.subarray(taken);
  }
}

function lengths(all: Buffer): [variables: number, configuration: number] {
  if (!all.subarray(0, MAGIC.length).equals(MAGIC)) throw new RangeError("not a request of Skylane's launcher");
  const [variables, configuration] = [u32(all, MAGIC.length), u32(all, MAGIC.length + 4)];
  if (variables > MAX_VARIABLES || configuration > MAX_CONFIGURATION)
    throw new RangeError(`a request of ${variables} and ${configuration} bytes is too large`);
  return [variables, configuration];
}

function decode(all: Buffer): LauncherRequest {
  const [variables] = lengths(all);
  const id = MAGIC.length + 8;
  const env: Record<string, string> = {};
  const text = all.toString("utf8", HEAD, HEAD + variables);
  for (const variable of text.split("\0")) {
    const equals = variable.indexOf("=");
    // Nothing but what a launcher sends: a name of the prototype's cannot come in.
    if (equals > 0 && /^(CNI_[A-Z]+|SKYLANE_REQUEST)$/.test(variable.slice(0, equals)))
      env[variable.slice(0, equals)] = variable.slice(equals + 1);
  }
  return {
    env,
    configuration: all.subarray(HEAD + variables),
    own: { dev: u64(all, id), ino: u64(all, id + 8) },
    key: all.subarray(KEY, HEAD),
  };
}

/** An answer as the launcher reads it. */
export function encodeAnswer({ exitCode, stdout }: { exitCode: number; stdout: string }): Buffer {
  const length = Buffer.byteLength(stdout);
  const out = Buffer.allocUnsafe(8 + length);
  const put = (value: number, at: number) => (little ? out.writeUInt32LE(value, at) : out.writeUInt32BE(value, at));
  put(exitCode, 0);
  put(length, 4);
  out.write(stdout, 8);
  return out;
}
