/**
 * A BPF map in the hands of this process: it is there as long as this object, or a program that uses it, is.
 */
import { closeSync } from "node:fs";
import { constants } from "node:os";
import { bpf, pointTo, SysError } from "../../sys/index.ts";

/** Commands of bpf(2). */
const COMMAND = { CREATE: 0, LOOKUP: 1, UPDATE: 2, DELETE: 3, LOOKUP_BATCH: 24 } as const;
/** enum bpf_map_type */
const TYPE = { hash: 1, array: 2, "per-CPU array": 6, "longest prefix": 11, devices: 25 } as const;
/** Entries take memory when they are made. */
const NO_PREALLOC = 1;
const SMALL_ATTRIBUTE = 32;
const BATCH_ATTRIBUTE = 56;
const NAME = { at: 28, length: 15 } as const;

/** What a map is. */
export interface MapSpec {
  /** Up to 15 letters, for whoever lists maps. */
  name: string;
  type: keyof typeof TYPE;
  /** Bytes. */
  key: number;
  value: number;
  entries: number;
}

/** One entry. */
export interface MapEntry {
  key: Buffer;
  value: Buffer;
}

/** See the header. Methods are synchronous and throw SysError where the kernel refuses. */
export class BpfMap implements Disposable {
  readonly spec: MapSpec;
  /** Its descriptor. */
  readonly fd: number;

  private constructor(spec: MapSpec, fd: number) {
    this.spec = spec;
    this.fd = fd;
  }

  /** @throws SysError EPERM where this process may not, EINVAL where this kernel has no such map */
  static create(spec: MapSpec): BpfMap {
    const attribute = Buffer.alloc(NAME.at + 16 + 28);
    const flags = spec.type === "hash" || spec.type === "longest prefix" ? NO_PREALLOC : 0;
    for (const [at, value] of [TYPE[spec.type], spec.key, spec.value, spec.entries, flags].entries())
      attribute.writeUInt32LE(value, 4 * at);
    attribute.write(spec.name.slice(0, NAME.length), NAME.at, "latin1");
    return new BpfMap(spec, bpf(COMMAND.CREATE, attribute, `creating BPF map ${spec.name}`));
  }

  /** Makes an entry, or gives it another value. */
  set({ key, value }: MapEntry): void {
    this.#ask(COMMAND.UPDATE, key, value, "writing to");
  }

  /** Removes an entry. @returns false when there was none */
  delete(key: Buffer): boolean {
    try {
      this.#ask(COMMAND.DELETE, key, undefined, "removing an entry of");
      return true;
    } catch (error) {
      if (error instanceof SysError && error.errno === constants.errno.ENOENT) return false;
      throw error;
    }
  }

  /** An entry's value; undefined when there is none. @param bytes of the value as it is read, more than its own where each processor has one */
  get(key: Buffer, bytes = this.spec.value): Buffer | undefined {
    const value = Buffer.alloc(bytes);
    try {
      this.#ask(COMMAND.LOOKUP, key, value, "reading");
      return value;
    } catch (error) {
      if (error instanceof SysError && error.errno === constants.errno.ENOENT) return undefined;
      throw error;
    }
  }

  /** All entries, in the kernel's order, as keys and values one behind the other. @throws SysError ENOSPC where it has grown meanwhile */
  all(expected: number): { count: number; keys: Buffer; values: Buffer } {
    // One more than there should be, so that a strange one is seen; a hash needs room for what shares a bucket as well.
    const room = Math.min(this.spec.entries, expected + 64);
    const { key, value, name } = this.spec;
    const keys = Buffer.alloc(room * key);
    const values = Buffer.alloc(room * value);
    const place = Buffer.alloc(Math.max(4, key));
    const attribute = Buffer.alloc(BATCH_ATTRIBUTE);
    pointTo(attribute, 8, place);
    pointTo(attribute, 16, keys);
    pointTo(attribute, 24, values);
    attribute.writeUInt32LE(room, 32);
    attribute.writeUInt32LE(this.fd, 36);
    try {
      bpf(COMMAND.LOOKUP_BATCH, attribute, `reading BPF map ${name}`);
    } catch (error) {
      // How it says that these were all.
      if (!(error instanceof SysError && error.errno === constants.errno.ENOENT)) throw error;
    }
    const count = attribute.readUInt32LE(32);
    return { count, keys: keys.subarray(0, count * key), values: values.subarray(0, count * value) };
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }

  #ask(command: number, key: Buffer, value: Buffer | undefined, doing: string): void {
    const attribute = Buffer.alloc(SMALL_ATTRIBUTE);
    attribute.writeUInt32LE(this.fd, 0);
    pointTo(attribute, 8, key);
    if (value) pointTo(attribute, 16, value);
    bpf(command, attribute, `${doing} BPF map ${this.spec.name}`);
  }
}
