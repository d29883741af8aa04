/**
 * GC: frees what no longer belongs to anybody. A runtime's list names the attachments of one CNI network, so
 * only records of that network are held against it. No list is not an empty list: `cnitool gc` sends none, and
 * then only what is provably dead goes, as at any other time when nobody can tell us more.
 */
import { provablyDead } from "../../ipam/local/index.ts";
import type { AttachmentRecord } from "../attachments.ts";
import type { NetConfig } from "../spec/config.ts";
import { Delegate } from "../delegate.ts";
import type { Attachment, Environment } from "../spec/environment.ts";
import { CniError } from "../spec/errors.ts";
import { type Host, realHost } from "../host.ts";
import { get, refuse } from "../spec/json.ts";
import type { VerbInput, VerbOutput } from "../spec/request.ts";
import { rollBack } from "./roll-back.ts";
import { toCniError } from "./translate.ts";
import { isObject, type Json } from "../../json/index.ts";

/** The keys under which runtimes send the list: the spec's, and the one that its first draft had by mistake. */
const LIST_KEYS = ["cni.dev/valid-attachments", "cni.dev/attachments"];

const keyOf = ({ containerId, ifname }: Attachment): string => `${containerId}/${ifname}`;

/**
 * The attachments that are still valid; undefined when the runtime named none at all (an absent key or null).
 * @throws CniError 7 when a list is there but cannot be read: guessing would free living pods' addresses.
 */
function validAttachments(raw: Json): ReadonlySet<string> | undefined {
  let valid: Set<string> | undefined;
  for (const key of LIST_KEYS) {
    const list = get(raw, key);
    if (list === undefined) continue;
    if (!Array.isArray(list)) throw refuse(key, list, "a list of {containerID, ifname}");
    valid ??= new Set();
    for (const [i, item] of list.entries()) {
      const containerId: unknown = isObject(item) ? get(item, "containerID") : undefined;
      const ifname: unknown = isObject(item) ? get(item, "ifname") : undefined;
      if (typeof containerId !== "string" || typeof ifname !== "string" || containerId === "" || ifname === "") {
        throw refuse(`${key}[${i}]`, item, "an object with containerID and ifname");
      }
      valid.add(keyOf({ containerId, ifname }));
    }
  }
  return valid;
}

/** What {@link collect} found to be garbage. */
export interface Collected {
  /** Attachments that were taken back. */
  attachments: Attachment[];
  /** Addresses freed that no attachment's record claims. */
  addresses: string[];
  /** What could not be taken back. */
  failures: CniError[];
}

/**
 * Takes back every recorded attachment that `isGarbage` names, and frees addresses that no record claims and
 * whose sandbox is provably dead. An attachment with a delegated IPAM plugin is left alone unless `delegateFor`
 * gives that plugin: its addresses could not be given back.
 */
async function collect(
  host: Host,
  config: Pick<NetConfig, "dataDir" | "network">,
  isGarbage: (record: AttachmentRecord) => boolean,
  delegateFor: (record: AttachmentRecord) => (() => Delegate) | undefined = () => undefined,
): Promise<Collected> {
  const found: Collected = { attachments: [], addresses: [], failures: [] };
  const records = host.attachments(config).list();
  for (const record of records) {
    if (!isGarbage(record)) continue;
    const delegate = record.ipam === undefined ? undefined : delegateFor(record);
    if (record.ipam !== undefined && !delegate) continue;
    const { containerId, ifname } = record.owner;
    // Not by the sandbox's path: another sandbox may have it by now.
    const env: Environment = {
      CNI_CONTAINERID: containerId,
      CNI_IFNAME: ifname,
      CNI_NETNS: record.owner.netns ?? "",
      CNI_ARGS: "",
    };
    try {
      await rollBack({ host, config, attachment: record.owner, ...(delegate && { delegate }), env });
      found.attachments.push({ containerId, ifname });
    } catch (error) {
      found.failures.push(toCniError(error));
    }
  }
  const claimed = new Set(records.map(({ owner }) => keyOf(owner)));
  try {
    const freed = host.ipam(config).collect((one) => !claimed.has(keyOf(one.owner)) && provablyDead(one));
    found.addresses = freed.map(({ ip }) => ip);
  } catch (error) {
    found.failures.push(toCniError(error));
  }
  return found;
}

/**
 * For whoever looks after the node without a runtime's request: takes back every attachment of a pod network
 * whose sandbox is provably dead. Runtimes seldom call GC, and after a reboot nobody calls DEL.
 */
export const collectDead = (
  network: Pick<NetConfig, "dataDir" | "network">,
  host: Host = realHost,
): Promise<Collected> => collect(host, network, (record) => provablyDead(record));

/** Serves GC: takes back as much as it can and reports all failures together. @throws CniError */
export async function gc({ env, config, host }: VerbInput): Promise<VerbOutput> {
  const valid = validAttachments(config.raw);
  const isGarbage = (record: AttachmentRecord): boolean =>
    record.name === config.name && (valid ? !valid.has(keyOf(record.owner)) : provablyDead(record));
  const delegate = () => new Delegate(config, env);
  const { failures } = await collect(host, config, isGarbage, ({ ipam }) =>
    ipam === config.ipam && ipam !== undefined ? delegate : undefined,
  );
  if (config.ipam !== undefined) {
    try {
      await delegate().forward("GC");
    } catch (error) {
      failures.push(toCniError(error));
    }
  }
  const [first, ...others] = failures;
  if (!first) return { stdout: "" };
  const details = [first.details, ...others.map(({ message }) => message)].filter(Boolean).join(" ");
  throw new CniError(first.code, `not everything could be freed: ${first.message}`, details, { cause: first });
}
