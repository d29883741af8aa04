/** What every part of the lab needs to know of the lab it works for. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { CommandError } from "../../src/cli/index.ts";
import { ApiClient } from "../api-client.ts";
import { MARK } from "./processes.ts";
import type { ApiRecord, LabFiles, LabRecord, NodeRecord } from "./records.ts";
import type { ProcessId } from "./processes.ts";

/** Told about every step of something that takes long. */
export type Progress = (text: string) => void;

/** Called with a process as soon as it exists. */
export type Remember = (process: ProcessId) => void;

/** A lab as its parts see it. */
export interface LabContext {
  readonly files: LabFiles;
  readonly record: LabRecord;
  /** Directory of Skylane's executables. */
  readonly binDir: string;
  /** Environment of everything that runs in the lab. */
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Where the executables are: SKYLANE_BIN_DIR, or beside the installation that this code belongs to, or what
 * `npm run build` left in the source tree. @throws CommandError when they are not there
 */
export function findBinDir(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const candidates = [
    process.env["SKYLANE_BIN_DIR"],
    // the bundle: lib/skylane/skylanectl.cjs
    join(here, "../../bin"),
    // the source: lab/cluster/context.ts
    join(here, "../../dist/bin"),
  ].filter((dir) => dir !== undefined);
  const found = candidates.find((dir) => existsSync(join(dir, "skylane-agent")));
  if (!found) throw new CommandError(`no executables in ${candidates.join(", ")}; run "npm run build" first`);
  return found;
}

/** Where a node has Skylane's executables from. */
export const binDirOf = ({ record, binDir }: LabContext, node: string): string => record.binDirs?.[node] ?? binDir;

/** The environment of a lab's processes: nothing of the caller's but where programs are and how the terminal is. */
export function labEnv(runId: string): NodeJS.ProcessEnv {
  const { PATH, TERM, LANG } = process.env;
  const path = [...(PATH ?? "").split(":"), "/usr/sbin", "/usr/bin", "/sbin", "/bin"].filter(Boolean);
  return {
    PATH: [...new Set(path)].join(":"),
    HOME: "/root",
    ...(TERM ? { TERM } : {}),
    ...(LANG ? { LANG } : {}),
    [MARK]: runId,
  };
}

/** The process that holds the fabric's network. @throws CommandError when the lab is broken */
export function fabricPid(lab: LabContext): number {
  const holder = lab.files.read("fabric.json") as ProcessId | undefined;
  if (!holder) throw new CommandError(`lab "${lab.record.name}" has no fabric; take it down: skylanectl lab down`);
  return holder.pid;
}

/** The API server's access data. @throws CommandError when there is none yet */
export function apiRecord(lab: LabContext): ApiRecord {
  const api = lab.files.read("api.json") as ApiRecord | undefined;
  if (!api?.url)
    throw new CommandError(`lab "${lab.record.name}" has no API server; take it down: skylanectl lab down`);
  return api;
}

/** A client of the lab's API server for this machine. */
export function apiClient(lab: LabContext): ApiClient {
  const { url, caPem, token } = apiRecord(lab);
  return new ApiClient({ url, caPem, token, socketPath: lab.files.path("api.sock") });
}

/** A node that is switched on. @throws CommandError when it is off */
export function initOf(node: NodeRecord): number {
  if (!node.init) throw new CommandError(`${node.name} is switched off; "lab node restart ${node.name}" boots it`);
  return node.init.pid;
}
