/**
 * The kernel's functions that programs may call, by name: in its own BTF, or in a module's, which the kernel wants to be handed over as a descriptor.
 */
import { closeSync } from "node:fs";
import { constants } from "node:os";
import { bpf, pointTo, SysError } from "../../sys/index.ts";
import { type Found, KERNEL, modulesWithBtf, readBtf, type Wanted } from "./btf.ts";

const COMMAND = { BTF_GET_FD_BY_ID: 19, OBJ_GET_INFO_BY_FD: 15, BTF_GET_NEXT_ID: 23 } as const;
const ATTRIBUTE = 16;
/** struct bpf_btf_info: where its name's address and room are. */
const INFO = { length: 32, name: 16, nameLength: 24 } as const;
const NAME_LENGTH = 64;

/** What programs need of a kernel. */
export interface KernelTypes extends Disposable {
  /** Functions by name: type id, and the place of their BTF in `modules`, from 1 on; 0 is the kernel's own. */
  functions: ReadonlyMap<string, { id: number; module: number }>;
  /** Descriptors of modules' BTF. */
  modules: readonly number[];
  /** Offset of a structure's member in bytes, "nf_conn.status". @throws Error when this kernel has none */
  offset(member: string): number;
}

/**
 * Finds functions and members, in the kernel's own types first.
 * @param modules which of them may have what the kernel itself does not
 * @throws Error naming what this kernel does not have; SysError when its types cannot be read
 */
export async function kernelTypes(wanted: Wanted, modules: readonly string[]): Promise<KernelTypes> {
  const own = await readBtf(KERNEL, wanted);
  const functions = new Map([...own.functions].map(([name, id]) => [name, { id, module: 0 }]));
  const offsets = new Map(own.offsets);
  const fds: number[] = [];
  const close = (): void => {
    for (const fd of fds.splice(0)) closeSync(fd);
  };
  try {
    const there = new Set(modulesWithBtf());
    for (const name of modules) {
      if (!there.has(name) || missing(wanted, functions, offsets).length === 0) continue;
      const found: Found = await readBtf({ name, base: own.end }, wanted);
      for (const [member, offset] of found.offsets) if (!offsets.has(member)) offsets.set(member, offset);
      const more = [...found.functions].filter(([one]) => !functions.has(one));
      if (more.length === 0) continue;
      fds.push(openModule(name));
      for (const [one, id] of more) functions.set(one, { id, module: fds.length });
    }
    const lacking = missing(wanted, functions, offsets);
    if (lacking.length > 0) throw new Error(`this kernel has no ${lacking.join(", no ")}`);
  } catch (error) {
    close();
    throw error;
  }
  return {
    functions,
    modules: fds,
    offset(member) {
      const offset = offsets.get(member);
      if (offset === undefined) throw new Error(`this kernel has no ${member}`);
      return offset;
    },
    [Symbol.dispose]: close,
  };
}

function missing(
  wanted: Wanted,
  functions: ReadonlyMap<string, unknown>,
  offsets: ReadonlyMap<string, unknown>,
): string[] {
  const members = Object.entries(wanted.members).flatMap(([type, names]) => names.map((name) => `${type}.${name}`));
  return [
    ...wanted.functions.filter((name) => !functions.has(name)).map((name) => `function ${name} for BPF programs`),
    ...members.filter((member) => !offsets.has(member)),
  ];
}

/** A descriptor of a loaded module's BTF. @throws SysError; Error when there is none of that name */
function openModule(module: string): number {
  for (let id = 0; ; ) {
    const next = Buffer.alloc(ATTRIBUTE);
    next.writeUInt32LE(id, 0);
    try {
      bpf(COMMAND.BTF_GET_NEXT_ID, next, "looking for the types of a module");
    } catch (error) {
      if (error instanceof SysError && error.errno === constants.errno.ENOENT)
        throw new Error(`the kernel hands over no types of its module ${module}`, { cause: error });
      throw error;
    }
    id = next.readUInt32LE(4);
    const open = Buffer.alloc(ATTRIBUTE);
    open.writeUInt32LE(id, 0);
    const fd = bpf(COMMAND.BTF_GET_FD_BY_ID, open, "opening the types of a module");
    if (nameOf(fd) === module) return fd;
    closeSync(fd);
  }
}

function nameOf(fd: number): string {
  const name = Buffer.alloc(NAME_LENGTH);
  const info = Buffer.alloc(INFO.length);
  pointTo(info, INFO.name, name);
  info.writeUInt32LE(name.length, INFO.nameLength);
  const ask = Buffer.alloc(ATTRIBUTE);
  ask.writeUInt32LE(fd, 0);
  ask.writeUInt32LE(info.length, 4);
  pointTo(ask, 8, info);
  bpf(COMMAND.OBJ_GET_INFO_BY_FD, ask, "asking for a module's name");
  return name.toString("latin1", 0, name.indexOf(0));
}
