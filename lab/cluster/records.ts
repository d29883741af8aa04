/**
 * What a lab remembers, in files under one directory: one small file an object, each written in one step, so that
 * commands that run at the same time need no lock and a crash leaves either the whole record or none.
 *
 *     <base>/<name>/lab.json           what was asked for, and the run's id
 *                   fabric.json        the process that holds the switch's network namespace
 *                   api.json           the API server: process, address, credentials
 *                   api.sock           its port, as a Unix socket for this machine
 *                   control.sock       the lab's own requests: faults, credentials
 *                   nodes/node1.json   a node, its process when it runs
 *                   disks/node1/       its disk: etc and var; outlives power cuts and reboots
 *                   pods/n1-a.json     a pod: its sandbox and the CNI's answer
 *                   log/               what each process printed
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Addressing } from "./names.ts";
import type { ProcessId } from "./processes.ts";

/** Where labs are, unless SKYLANE_LAB_DIR says otherwise. */
const BASE = "/run/skylane-lab";

/** What a lab was made with. */
export interface LabRecord {
  version: 1;
  name: string;
  /** Random; marks the lab's processes. */
  runId: string;
  addressing: Addressing;
  vni: number;
  port: number;
  /** Further keys for every node's agent configuration. */
  agentConfig: Record<string, unknown>;
  /** Directories of Skylane's executables of nodes that do not have them from the lab, by name. */
  binDirs?: Record<string, string>;
  created: string;
}

/** A node; without a process it is switched off. */
export interface NodeRecord {
  name: string;
  number: number;
  /** `unshare`, the parent of the node's first process; its end is the node's end. */
  holder?: ProcessId;
  /** The node's first process, in whose namespaces everything of the node is. */
  init?: ProcessId;
  /** Cut off from the others: its packets vanish in the switch ("silent") or its cable is out ("unplugged"). */
  partition?: "silent" | "unplugged";
  boots: number;
}

/** The API server as clients see it. */
export interface ApiRecord {
  process?: ProcessId;
  url: string;
  caPem: string;
  token: string;
  /** The same as a kubeconfig file. */
  kubeconfig: string;
}

/** A pod: a sandbox and the attachment in it. */
export interface PodRecord {
  name: string;
  node: string;
  namespace: string;
  uid: string;
  containerId: string;
  /** Path of the sandbox's network namespace, in the node's sight. */
  netns: string;
  /** The node's boot in which it was made; in a later one its sandbox is gone. */
  boot: number;
  /** Addresses the CNI gave, without prefix length; empty until ADD has answered. */
  ips: string[];
  /** Asked-for runtime configuration by capability. */
  runtimeConfig: Record<string, unknown>;
  /** Annotations and labels of its object; a pod that has neither has no object. */
  annotations?: Readonly<Record<string, string>>;
  labels?: Readonly<Record<string, string>>;
  /** The last answer of the chain; CHECK and DEL are given it. */
  result?: Record<string, unknown>;
}

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** The files of one lab. */
export class LabFiles {
  readonly dir: string;

  constructor(name: string, base = process.env["SKYLANE_LAB_DIR"] ?? BASE) {
    if (!/^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$/.test(name))
      throw new RangeError(`a lab's name is 1 to 20 of a–z, 0–9 and "-", not "${name}"`);
    this.dir = join(base, name);
  }

  path(...parts: string[]): string {
    return join(this.dir, ...parts);
  }

  /** Makes the directory for a new lab. Returns false when there is one of that name already. */
  create(): boolean {
    const base = join(this.dir, "..");
    try {
      mkdirSync(base, { recursive: true, mode: 0o700 });
      mkdirSync(this.dir, { mode: 0o700 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    }
    for (const part of ["nodes", "disks", "pods", "log", "roots"]) mkdirSync(this.path(part));
    return true;
  }

  /** Removes everything, and the directory of all labs when this was the last. */
  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
    try {
      rmdirSync(join(this.dir, ".."));
    } catch (error) {
      // other labs are in it, or it is not there
      if (!["ENOTEMPTY", "EEXIST", "ENOENT"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    }
  }

  get exists(): boolean {
    return existsSync(this.dir);
  }

  /** A record, undefined when there is none; what it says is the caller's to know. @throws Error when it cannot be read */
  read(...parts: string[]): unknown {
    try {
      return JSON.parse(readFileSync(this.path(...parts), "utf8"));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw new Error(`${this.path(...parts)} cannot be read`, { cause: error });
    }
  }

  write(value: unknown, ...parts: string[]): void {
    const file = this.path(...parts);
    const temporary = `${file}.${process.pid}.tmp`;
    writeFileSync(temporary, json(value), { mode: 0o600 });
    renameSync(temporary, file);
  }

  /** Writes a record that must not exist yet. Returns false when it does. */
  claim(value: unknown, ...parts: string[]): boolean {
    try {
      writeFileSync(this.path(...parts), json(value), { mode: 0o600, flag: "wx" });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    }
  }

  delete(...parts: string[]): void {
    rmSync(this.path(...parts), { recursive: true, force: true });
  }

  /** All records of a folder, by file name in natural order (node2 before node10). */
  all<T>(folder: string): T[] {
    const names = existsSync(this.path(folder)) ? readdirSync(this.path(folder)) : [];
    return names
      .filter((name) => name.endsWith(".json"))
      .sort((a, b) => a.localeCompare(b, "en", { numeric: true }))
      .map((name) => this.read(folder, name) as T | undefined)
      .filter((record) => record !== undefined);
  }
}

/** The names of the labs on this machine. */
export function labNames(base = process.env["SKYLANE_LAB_DIR"] ?? BASE): string[] {
  return existsSync(base) ? readdirSync(base).sort() : [];
}
