/**
 * Records of attachments: what we began to make, written before anything else of it exists and removed after
 * everything of it is gone. So whatever kill -9 leaves behind is listed here, also where a delegated IPAM
 * plugin keeps the addresses, and GC knows which CNI network an attachment belongs to: two networks may
 * share one pod network, and a runtime only knows the attachments of the one it asks about.
 *
 * A record is a symbolic link whose target is its content: created in one step together with what it says,
 * fails when it exists, needs no data block to be removed on a full disk, and is never half written.
 */
import { readdirSync, readlinkSync, symlinkSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { Reservation } from "../ipam/local/index.ts";
import { makeDirectory } from "../sys/index.ts";
import type { Attachment } from "./spec/environment.ts";
import { CniError, CODE, errnoOf } from "./spec/errors.ts";
import type { Place } from "./verbs/additional-interfaces.ts";
import { isObject } from "../json/index.ts";

/**
 * What is recorded of an attachment: whose it is, and what proves later that its sandbox is dead (the same as for a
 * reserved address, so that the same judge serves both).
 */
export interface AttachmentRecord extends Omit<Reservation, "ip"> {
  /** CNI network name of the configuration that made it. */
  name: string;
  /** The IPAM plugin that gave its addresses; absent: our own IPAM. */
  ipam?: string;
  /** The launcher's name for the request that made it (see `requestOf`), if it has one. */
  request?: string;
  /** Attachments of the same container that belong to it: they were made with it and are taken back with it. */
  more?: readonly Place[];
  /** The asked-for MAC address of its interface; absent: that of its name. */
  mac?: string;
  /** The IPClaim whose addresses it has, as NAMESPACE/NAME/UID, and the pod that uses it. */
  claim?: { holder: string; pod: string; uid?: string };
  /** What the pod reaches through it, where that is not what its network says. */
  destinations?: readonly string[];
  /** What is sent from its addresses goes through it (see `PodLinkSpec`). */
  bySource?: boolean;
  /** The routing table for that, where it is the interface's own. */
  sourceTable?: number;
  /** It was made when host ports were Skylane's, so no other plugin has any of its pod. */
  hostPorts?: "own";
  /** The pod that has it, as NAMESPACE/NAME, and the uid by which its runtime knows it. */
  pod?: string;
  podUid?: string;
  /** MTU of its host end, in bytes. */
  mtu?: number;
  /** Path of the network namespace in which its host end is, where that is not the host's. */
  hostNetns?: string;
}

/** Kernel limit of a symbolic link's target (PATH_MAX with its end). */
const MAX_TARGET = 4095;

function encode(record: AttachmentRecord): string {
  const text = JSON.stringify(record);
  if (Buffer.byteLength(text) > MAX_TARGET) {
    throw new CniError(
      CODE.invalidEnvironment,
      "CNI_CONTAINERID, CNI_NETNS and the pod's routes are too long together to be recorded",
    );
  }
  return text;
}

function decode(text: string): AttachmentRecord | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (!isObject(value) || !isObject(value.owner)) return undefined;
    const { containerId, ifname } = value.owner;
    const whole =
      typeof containerId === "string" &&
      typeof ifname === "string" &&
      typeof value.name === "string" &&
      typeof value.bootId === "string" &&
      typeof value.uptime === "number";
    return whole ? (value as unknown as AttachmentRecord) : undefined;
  } catch {
    return undefined; // not a record of ours: a foreign link in our directory is left alone
  }
}

/** Without Node's own message, which quotes the whole record. */
function notRecorded(dir: string, error: unknown): CniError {
  const reason = errnoOf(error) ?? String(error);
  const details = "Skylane keeps its records of attachments there; see that the directory is writable and not full.";
  return new CniError(CODE.io, `cannot record the attachment in ${dir}: ${reason}`, details, { cause: error });
}

/** The records of one pod network on this node. */
export class Attachments {
  readonly #dir: string;
  readonly #fileOf: (attachment: Attachment) => string;

  readonly #unlink: (path: string) => void;

  /**
   * @param fileOf a file name of fixed length that is the same for the same attachment only.
   * @param unlink removes a record's name; unlink(2) by default.
   */
  constructor(
    dataDir: string,
    network: string,
    fileOf: (attachment: Attachment) => string,
    unlink: (path: string) => void = unlinkSync,
  ) {
    this.#unlink = unlink;
    this.#dir = join(dataDir, "attachments", network);
    this.#fileOf = fileOf;
  }

  #path(attachment: Attachment): string {
    return join(this.#dir, this.#fileOf(attachment));
  }

  /**
   * Records a new attachment.
   * @returns the record that is there already, with nothing written; undefined when it was written.
   * @throws CniError 5 when it cannot be written.
   */
  begin(record: AttachmentRecord): AttachmentRecord | undefined {
    const target = encode(record);
    try {
      return this.#create(record, target);
    } catch (error) {
      throw notRecorded(this.#dir, error);
    }
  }

  #create(record: AttachmentRecord, target: string): AttachmentRecord | undefined {
    for (let attempt = 0; ; attempt++) {
      try {
        symlinkSync(target, this.#path(record.owner));
        return undefined;
      } catch (error) {
        if (errnoOf(error) === "ENOENT" && attempt === 0) makeDirectory(this.#dir, 0o700);
        else if (errnoOf(error) === "EEXIST") return this.find(record.owner) ?? record;
        else throw error;
      }
    }
  }

  /** The record of an attachment. @throws Error with a POSIX `code` other than ENOENT. */
  find(attachment: Attachment): AttachmentRecord | undefined {
    try {
      return decode(readlinkSync(this.#path(attachment)));
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  /** Removes a record; nothing happens when there is none. @throws Error with a POSIX `code`. */
  end(attachment: Attachment): void {
    try {
      this.#unlink(this.#path(attachment));
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }

  /** Every record of the network. @throws Error with a POSIX `code` other than ENOENT. */
  list(): AttachmentRecord[] {
    return [...this.byFile().values()];
  }

  /**
   * Every record of the network by its file's name. @param known those that need not be read again
   * @throws Error with a POSIX `code` other than ENOENT.
   */
  byFile(known: ReadonlyMap<string, AttachmentRecord> = new Map()): Map<string, AttachmentRecord> {
    const records = new Map<string, AttachmentRecord>();
    let names: string[];
    try {
      names = readdirSync(this.#dir);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return records;
      throw error;
    }
    for (const name of names) {
      try {
        const record = known.get(name) ?? decode(readlinkSync(join(this.#dir, name)));
        if (record) records.set(name, record);
      } catch (error) {
        // ENOENT: removed meanwhile; EINVAL: no symbolic link, so none of ours.
        if (errnoOf(error) !== "ENOENT" && errnoOf(error) !== "EINVAL") throw error;
      }
    }
    return records;
  }
}
