/**
 * Limits of pods on disk, so that they hold whoever is away: symbolic links whose targets are their content, named by the host end of the pod's link,
 * one an interface. A record is there before anything of it is in the kernel. When its pod goes, or its limits do, it is renamed first, so that
 * nobody limits the pod again, and unlinked once nothing of it is in the kernel.
 */
import { readdirSync, readlinkSync, renameSync, symlinkSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { isObject } from "../../json/index.ts";
import { makeDirectory } from "../../sys/index.ts";
import { hostIfname } from "../pod-link/index.ts";
import { DIRECTIONS, isRate, type Limits } from "./limits.ts";

/** Name of the directory in the data directory. */
export const BANDWIDTH = "bandwidth";
/** Ends the name of a record that holds no longer, and that of one that is being written. */
const [GOING, DRAFT] = ["~", ".new"];

/** An interface of a container, as in CNI. */
export interface LimitOwner {
  containerId: string;
  ifname: string;
}

/** The limits of a pod's interface. */
export interface LimitRecord {
  owner: LimitOwner;
  /** The pod network of the attachment whose record this one goes with. */
  network: string;
  /** NAMESPACE/NAME, where the runtime says it. */
  pod?: string;
  /** The pod's, as the runtime says it. */
  uid?: string;
  /** The boot in which it was made; no link outlives it. */
  bootId: string;
  /** Path of the network namespace in which its host end is, where that is not the host's. */
  hostNetns?: string;
  limits: Limits;
  /** Whether the Pod's annotations say so, as the API server has them; by default the runtime has said it. */
  annotated?: true;
}

export const endOf = ({ owner: { containerId, ifname } }: Pick<LimitRecord, "owner">): string =>
  hostIfname(containerId, ifname);

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/** Undefined for what is not one of ours: it is left alone. */
function decode(text: string): LimitRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(value) || !isObject(value["owner"]) || !isObject(value["limits"])) return undefined;
  const { owner, limits } = value;
  const texts = [owner["containerId"], owner["ifname"], value["network"], value["bootId"]];
  if (!texts.every((one) => typeof one === "string")) return undefined;
  const rates = DIRECTIONS.flatMap((direction) => limits[direction] ?? []);
  const sound = rates.every((limit) => isObject(limit) && typeof limit["rate"] === "number" && isRate(limit["rate"]));
  return sound ? (value as unknown as LimitRecord) : undefined;
}

/** The records of one node. Each method throws an Error with a POSIX `code` where the directory cannot be used. */
export class LimitRecords {
  readonly #dir: string;

  constructor(dataDir: string) {
    this.#dir = join(dataDir, BANDWIDTH);
  }

  /** Those that hold. */
  list(): LimitRecord[] {
    return this.#read((name) => !name.endsWith(GOING));
  }

  /** Those that hold no longer, of which there may still be something in the kernel. */
  going(): LimitRecord[] {
    return this.#read((name) => name.endsWith(GOING));
  }

  /** The one of an interface that holds. */
  find(owner: LimitOwner): LimitRecord | undefined {
    return ignoring(["ENOENT", "EINVAL"], () => decode(readlinkSync(join(this.#dir, endOf({ owner })))));
  }

  /** Writes a record, in the place of the one before it. */
  write(record: LimitRecord): void {
    const path = join(this.#dir, endOf(record));
    const draft = path + DRAFT;
    makeDirectory(this.#dir, 0o700);
    ignoring(["ENOENT"], () => unlinkSync(draft));
    symlinkSync(JSON.stringify(record), draft);
    renameSync(draft, path);
  }

  /** Has an interface's record hold no longer. @returns whether there is one, of this time or an earlier one */
  leave(owner: LimitOwner): boolean {
    const path = join(this.#dir, endOf({ owner }));
    const left = ignoring(["ENOENT"], () => {
      renameSync(path, path + GOING);
      return true;
    });
    return left ?? ignoring(["ENOENT", "EINVAL"], () => readlinkSync(path + GOING)) !== undefined;
  }

  /** Removes what {@link leave} has put aside. */
  forget(owner: LimitOwner): void {
    ignoring(["ENOENT"], () => unlinkSync(join(this.#dir, endOf({ owner }) + GOING)));
  }

  #read(wanted: (name: string) => boolean): LimitRecord[] {
    const names = ignoring(["ENOENT"], () => readdirSync(this.#dir)) ?? [];
    return names.flatMap((name) => {
      if (name.endsWith(DRAFT) || !wanted(name)) return [];
      // ENOENT: gone meanwhile; EINVAL: no symbolic link, so none of ours.
      return ignoring(["ENOENT", "EINVAL"], () => decode(readlinkSync(join(this.#dir, name)))) ?? [];
    });
  }
}

/** Runs something that may fail with POSIX codes. */
function ignoring<T>(codes: readonly string[], run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (codes.includes(codeOf(error) ?? "")) return undefined;
    throw error;
  }
}
