/**
 * CNI_ARGS: "K=V;K2=V2" pairs that a runtime passes in the environment. Kubernetes names the pod here. Keys
 * that we do not know are refused unless IgnoreUnknown says otherwise, as the reference implementation does
 * (containernetworking/cni, types.LoadArgs): a mistyped IP= must not be lost silently.
 */
import { printable } from "../../addr/index.ts";
import { CniError, CODE } from "./errors.ts";

/** What CNI_ARGS said. */
export interface CniArgs {
  podNamespace?: string;
  podName?: string;
  podUid?: string;
  infraContainerId?: string;
  /** IP=: asked-for addresses, comma-separated; only used where neither runtimeConfig nor args.cni has any (CONVENTIONS.md). */
  ip?: string;
  /** MAC=: asked-for MAC address, likewise. */
  mac?: string;
}

const KEYS: Readonly<Record<string, keyof CniArgs>> = {
  K8S_POD_NAMESPACE: "podNamespace",
  K8S_POD_NAME: "podName",
  K8S_POD_UID: "podUid",
  K8S_POD_INFRA_CONTAINER_ID: "infraContainerId",
  IP: "ip",
  MAC: "mac",
};

/** Kubernetes names are DNS subdomains (RFC 1123); other runtimes are a little freer (podman's may end in "-"), control characters never. */
const POD_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/;

function bad(what: string, why: string): CniError {
  return new CniError(CODE.invalidEnvironment, `invalid environment variable CNI_ARGS: ${what}`, why);
}

function flag(text: string): boolean {
  const value = text.toLowerCase();
  if (value === "1" || value === "true") return true;
  if (value === "0" || value === "false") return false;
  throw bad(`IgnoreUnknown=${printable(text)}`, "IgnoreUnknown must be 1, true, 0 or false.");
}

/** Parses CNI_ARGS; empty and absent are the same. @throws CniError 4 naming the pair that is refused. */
export function parseArgs(text: string | undefined): CniArgs {
  const found: CniArgs = {};
  const unknown: string[] = [];
  let ignoreUnknown = false;
  for (const pair of (text ?? "").split(";")) {
    if (pair === "") continue;
    const at = pair.indexOf("=");
    if (at <= 0 || pair.includes("=", at + 1)) {
      throw bad(`"${printable(pair)}" is no KEY=VALUE pair`, "Pairs are separated by semicolons.");
    }
    const key = pair.slice(0, at);
    const value = pair.slice(at + 1);
    if (key === "IgnoreUnknown") ignoreUnknown = flag(value);
    else if (!Object.hasOwn(KEYS, key)) unknown.push(printable(key));
    else if (value !== "") found[KEYS[key] as keyof CniArgs] = value;
  }
  if (unknown.length > 0 && !ignoreUnknown) {
    throw bad(
      `unknown keys ${unknown.join(", ")}`,
      `Known keys are ${Object.keys(KEYS).join(", ")}; IgnoreUnknown=1 lets others pass.`,
    );
  }
  for (const [name, value] of [
    ["K8S_POD_NAMESPACE", found.podNamespace],
    ["K8S_POD_NAME", found.podName],
  ]) {
    if (value !== undefined && !POD_NAME.test(value)) {
      throw bad(`${name}="${printable(value)}"`, `${name} must be a Kubernetes name (RFC 1123).`);
    }
  }
  return found;
}
