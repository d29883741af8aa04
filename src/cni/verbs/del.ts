/**
 * DEL: succeeds wherever nothing is left, whatever else is missing: sandbox, previous result, published state,
 * agent. Only what is needed to find the attachment is read, so that a configuration that went bad in an optional
 * key does not keep a pod from being deleted.
 */
import type { NetConfig } from "../spec/config.ts";
import { Delegate } from "../delegate.ts";
import { type Attachment, type Environment, readAttachment } from "../spec/environment.ts";
import { CniError } from "../spec/errors.ts";
import type { Host } from "../host.ts";
import type { VerbInput, VerbOutput } from "../spec/request.ts";
import { usableSandbox } from "../sandbox.ts";
import { rollBack } from "./roll-back.ts";

/** The delegated plugin; undefined when it is not installed and never gave this attachment anything. */
function delegateOf(host: Host, config: NetConfig, env: Environment, attachment: Attachment): Delegate | undefined {
  try {
    return new Delegate(config, env);
  } catch (error) {
    if (error instanceof CniError && host.attachments(config).find(attachment)?.ipam === undefined) return undefined;
    throw error;
  }
}

/** Serves DEL. @throws CniError when something of the attachment is still there and cannot be removed */
export async function del({ env, config, host }: VerbInput): Promise<VerbOutput> {
  const attachment = readAttachment(env);
  const named = usableSandbox(host, env.CNI_NETNS);
  const isOwn = named === undefined || (host.requireOwn?.({ ...attachment, network: config.network }, named) ?? true);
  const netns = isOwn ? named : undefined;
  // Looked up only once the link is gone: a plugin that is not installed must not keep it.
  const delegate = () => delegateOf(host, config, env, attachment);
  await rollBack({ host, config, attachment, ...(netns && { netns }), ...(config.ipam && { delegate }) });
  return { stdout: "" };
}
