/**
 * The text of an owner's record, kept as the target of a symbolic link: symlink(2) creates name and content in one step,
 * so that no reader and no kill can ever meet half a record. The kernel never follows it; it leads nowhere.
 */
import { sha256Hex } from "../../addr/index.ts";
import type { FileIdentity, Owner, Reservation } from "./types.ts";

/** What is written down once for all addresses of an attachment. */
export interface OwnerRecord extends Omit<Reservation, "ip"> {
  ips: string[];
}

/** The name of an attachment's record: 80 bits of a hash, since container IDs may be longer than file names. */
export const ownerKey = ({ containerId, ifname }: Pick<Owner, "containerId" | "ifname">): string =>
  sha256Hex(`${containerId}/${ifname}`).slice(0, 20);

export function formatRecord(record: OwnerRecord): string {
  const { owner, ips, since, uptime, bootId, netnsIdentity, netnsDir } = record;
  return JSON.stringify({
    containerId: owner.containerId,
    ifname: owner.ifname,
    ips,
    since,
    uptime: Math.round(uptime),
    boot: bootId,
    netns: owner.netns,
    ns: netnsIdentity && [netnsIdentity.dev, netnsIdentity.ino],
    dir: netnsDir && [netnsDir.dev, netnsDir.ino],
  });
}

/** The record that a text stands for, `undefined` when it is damaged or not one of ours. */
export function parseRecord(text: string): OwnerRecord | undefined {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (typeof raw !== "object" || raw === null) return undefined;
  const { containerId, ifname, ips, since, uptime, boot, netns, ns, dir } = raw as Record<string, unknown>;
  if (typeof containerId !== "string" || typeof ifname !== "string" || typeof boot !== "string") return undefined;
  if (!Array.isArray(ips) || !ips.every((ip) => typeof ip === "string")) return undefined;
  if (typeof since !== "number" || !Number.isFinite(since) || typeof uptime !== "number") return undefined;
  const netnsIdentity = identity(ns);
  const netnsDir = identity(dir);
  return {
    owner: { containerId, ifname, ...(typeof netns === "string" ? { netns } : {}) },
    ips,
    since,
    uptime,
    bootId: boot,
    ...(netnsIdentity && { netnsIdentity }),
    ...(netnsDir && { netnsDir }),
  };
}

function identity(raw: unknown): FileIdentity | undefined {
  if (!Array.isArray(raw)) return undefined;
  const [dev, ino] = raw as unknown[];
  return typeof dev === "number" && typeof ino === "number" ? { dev, ino } : undefined;
}
