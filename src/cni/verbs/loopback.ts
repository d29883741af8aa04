/**
 * The `loopback` plugin, for hosts that have no CNI plugins at all: container runtimes call it for every pod before
 * the pod network's own, and without it no pod starts. The same executable serves it, under that name; where the
 * host has one already, ours is not installed. It brings `lo` up and answers with what `lo` has.
 */
import { readAttachment, readNetns } from "../spec/environment.ts";
import { CniError, CODE } from "../spec/errors.ts";
import { get } from "../spec/json.ts";
import type { VerbInput, VerbOutput } from "../spec/request.ts";
import { appendResult, readResult, resultIn } from "../spec/result.ts";
import { requireSandbox, usableSandbox } from "../sandbox.ts";
import type { Verb } from "../spec/version.ts";

/** `type` of a network configuration that asks for this plugin. */
export const LOOPBACK = "loopback";

async function add({ env, config, host }: VerbInput): Promise<VerbOutput> {
  readAttachment(env);
  const netns = readNetns(env);
  requireSandbox(host, netns);
  const { addresses } = host.loopback(netns, true);
  const prevResult = get(config.raw, "prevResult");
  const result = appendResult(prevResult === undefined ? undefined : readResult(prevResult, "prevResult"), {
    interfaces: [{ name: "lo", mac: "00:00:00:00:00:00", sandbox: netns }],
    ips: addresses.map((address) => ({ address, interface: 0 })),
    routes: [],
    dns: {},
  });
  return { stdout: `${JSON.stringify(resultIn(config.cniVersion, result), undefined, 2)}\n` };
}

async function check({ env, host }: VerbInput): Promise<VerbOutput> {
  const { containerId } = readAttachment(env);
  const netns = readNetns(env);
  requireSandbox(host, netns);
  if (!host.loopback(netns).up) {
    throw new CniError(CODE.checkFailed, `container ${containerId} interface lo is down`, "It was up after ADD.");
  }
  return { stdout: "" };
}

async function del({ env, host }: VerbInput): Promise<VerbOutput> {
  readAttachment(env);
  const netns = usableSandbox(host, env["CNI_NETNS"]);
  if (netns) host.loopback(netns, false);
  return { stdout: "" };
}

const nothing = async (): Promise<VerbOutput> => ({ stdout: "" });

/** Its verbs; VERSION is the executable's. */
export const LOOPBACK_VERBS: Readonly<Record<Exclude<Verb, "VERSION">, (input: VerbInput) => Promise<VerbOutput>>> = {
  ADD: add,
  DEL: del,
  CHECK: check,
  GC: nothing,
  STATUS: nothing,
};
