/**
 * The CNI_* environment variables: which verb needs which, and what they may look like (CNI 1.1.0, section 2).
 * All that is missing is reported at once.
 */
import { interfaceNameFault, printable } from "../../addr/index.ts";
import { CniError, CODE } from "./errors.ts";
import { isVerb, type Verb } from "./version.ts";

/** Environment variables, as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** An attachment: the spec's identity of one interface in one sandbox. */
export interface Attachment {
  containerId: string;
  ifname: string;
}

const REQUIRED: Readonly<Record<Verb, readonly string[]>> = {
  ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
  CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME"],
  GC: [],
  STATUS: [],
  VERSION: [],
};

/** Names of containers, networks and plugins: the spec's own rule. */
export const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** The spec sets no limit; every runtime stays under 100. Longer ones would not fit into an attachment's record. */
const MAX_CONTAINER_ID = 1024;

function invalid(name: string, value: string, rule: string): CniError {
  const message = `invalid environment variable ${name}: "${printable(value)}"`;
  return new CniError(CODE.invalidEnvironment, message, `${name} ${rule}.`);
}

/** The requested verb. @throws CniError 4 when CNI_COMMAND is absent or none of the protocol's. */
export function readVerb(env: Environment): Verb {
  const command = env.CNI_COMMAND ?? "";
  if (command === "") {
    throw new CniError(
      CODE.invalidEnvironment,
      "missing environment variables: CNI_COMMAND",
      "Skylane's CNI plugin is called by a container runtime, with CNI_COMMAND set to ADD, DEL, CHECK, GC, STATUS or VERSION.",
    );
  }
  if (!isVerb(command)) {
    throw invalid("CNI_COMMAND", command, "must be ADD, DEL, CHECK, GC, STATUS or VERSION");
  }
  return command;
}

/** @throws CniError 4 naming every variable that the verb needs and that is missing. */
export function requireVariables(env: Environment, verb: Verb): void {
  const missing = REQUIRED[verb].filter((name) => (env[name] ?? "") === "");
  if (missing.length > 0) {
    throw new CniError(
      CODE.invalidEnvironment,
      `missing environment variables: ${missing.join(", ")}`,
      `CNI_COMMAND=${verb} needs ${REQUIRED[verb].join(", ")}.`,
    );
  }
}

/** The attachment that ADD, DEL and CHECK are about. @throws CniError 4 */
export function readAttachment(env: Environment): Attachment {
  const containerId = env.CNI_CONTAINERID ?? "";
  const ifname = env.CNI_IFNAME ?? "";
  if (!NAME.test(containerId) || containerId.length > MAX_CONTAINER_ID) {
    const rule = `must start with a letter or digit, go on with letters, digits, "_", "." or "-", and have at most ${MAX_CONTAINER_ID} characters`;
    throw invalid("CNI_CONTAINERID", containerId, rule);
  }
  const fault = interfaceNameFault(ifname);
  if (fault) throw invalid("CNI_IFNAME", ifname, fault);
  return { containerId, ifname };
}

/**
 * The launcher's own name for this request, the same when the agent died over it and the plugin serves it again:
 * what an ADD of that name has begun is the request's own. Undefined where nobody gave it one.
 */
export function requestOf(env: Environment): string | undefined {
  const id = env.SKYLANE_REQUEST;
  return id !== undefined && /^[0-9a-f]{16}$/.test(id) ? id : undefined;
}

/** The sandbox's path for ADD and CHECK. @throws CniError 4 when it is not an absolute path. */
export function readNetns(env: Environment): string {
  const path = env.CNI_NETNS ?? "";
  if (!path.startsWith("/") || path.includes("\0") || path.length > 2048) {
    throw invalid("CNI_NETNS", path, "must be the absolute path of a network namespace, such as /run/netns/NAME");
  }
  return path;
}
