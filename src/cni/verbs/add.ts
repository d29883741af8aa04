/**
 * ADD: the interface that the runtime asks for, and those beside it that the pod is to have. All of them are made, or none.
 */
import { parseArgs } from "../spec/args.ts";
import { attachOne, type Attached, undone } from "./attach.ts";
import type { NetConfig } from "../spec/config.ts";
import { type Attachment, readAttachment, readNetns } from "../spec/environment.ts";
import { CODE } from "../spec/errors.ts";
import { agentNeeded, type AdditionalInterface, type Prepared, type Wanted } from "./additional-interfaces.ts";
import { get } from "../spec/json.ts";
import { type AttachOptions, readOptions } from "../spec/options.ts";
import { requirePublished } from "../published-state.ts";
import type { VerbInput, VerbOutput } from "../spec/request.ts";
import { appendResult, type CniResult, readResult, resultIn } from "../spec/result.ts";
import { requireSandbox } from "../sandbox.ts";
import { toCniError } from "./translate.ts";

function previousResult(config: NetConfig): CniResult | undefined {
  const value = get(config.raw, "prevResult");
  return value === undefined ? undefined : readResult(value, "prevResult");
}

/** What the pod is to have. @throws CniError with the reason why it cannot have it, or 11 where nobody here knows */
async function prepare(
  { env, config, host }: VerbInput,
  attachment: Attachment,
  netns: string,
): Promise<Prepared | undefined> {
  const { podNamespace: namespace, podName: name, podUid: uid } = parseArgs(env.CNI_ARGS);
  const pod =
    namespace !== undefined && name !== undefined ? { namespace, name, ...(uid !== undefined && { uid }) } : undefined;
  return await host.prepare?.({ attachment, netns, network: config.network, pod });
}

/** Makes one of the interfaces beside the one that was asked for: the same configuration, in another network. */
async function attachAdditional(
  input: VerbInput,
  { containerId }: Attachment,
  netns: string,
  { network, ifname, destinations, ...wanted }: AdditionalInterface,
): Promise<Attached> {
  const { ipam: _, ...own } = input.config;
  const additional = { ...input, config: { ...own, network } };
  const published = requirePublished(input.host, additional.config, CODE.tryAgain);
  const attachment = { containerId, ifname };
  // In the network of the first interface it leaves that one its routes.
  const beside = network === input.config.network;
  const more = { claim: wanted, beside, ...(destinations && { destinations }) };
  return await attachOne(additional, {
    attachment,
    netns,
    options: withWanted({ dns: {} }, wanted),
    published,
    ...more,
  });
}

/** What is wanted of an interface beside what its runtime asks for; a claim's addresses are no matter of choice. */
function withWanted(options: AttachOptions, { ips, mac, claim }: Wanted): AttachOptions {
  const wanted = { ...(ips && { ips }), ...(mac && { mac }) };
  return claim === undefined ? { ...wanted, ...options } : { ...options, ranges: [], ...wanted };
}

/** Serves ADD. @throws CniError, with nothing left behind */
export async function add(input: VerbInput): Promise<VerbOutput> {
  const { env, config, host } = input;
  const attachment = readAttachment(env);
  const netns = readNetns(env);
  const options = readOptions(config.raw, parseArgs(env.CNI_ARGS));
  const before = previousResult(config);
  requireSandbox(host, netns);
  const prepared = await prepare(input, attachment, netns);
  const published = requirePublished(host, config, CODE.tryAgain);
  if (!prepared && published.needsAgent) throw agentNeeded(config.network);
  const { additional, own = {}, destinations, attached }: Prepared = prepared ?? { additional: [] };
  const more = additional.map(({ network, ifname }) => ({ network, ifname }));
  const { made, result, undo } = await attachOne(input, {
    attachment,
    netns,
    options: withWanted(options, own),
    published,
    claim: own,
    ...(more.length > 0 && { more }),
    ...(destinations && { destinations, bySource: true }),
  });
  try {
    let whole = appendResult(before, result);
    const all = [made];
    for (const one of additional) {
      const next = await attachAdditional(input, attachment, netns, one);
      whole = appendResult(whole, next.result);
      all.push(next.made);
    }
    attached?.(all);
    return { stdout: `${JSON.stringify(resultIn(config.cniVersion, whole), undefined, 2)}\n`, undo };
  } catch (error) {
    throw await undone(toCniError(error), undo);
  }
}
