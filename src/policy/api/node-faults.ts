/**
 * What a node says of itself about network policies, in an annotation of its own Node that is there only while something is wrong. One agent of
 * the cluster reads it for the status of policies; whatever a node writes there, it is said of that node alone.
 */
import { isObject } from "../../json/index.ts";

export const POLICY_FAULTS_ANNOTATION = "skylane.dev/policy-faults";

/** The longest cause, in characters: people read it in a condition, beside nine others. */
const MOST_CAUSE = 256;
/** A cause of that length, each character escaped, and what is around it. */
const MOST_TEXT = 2 * MOST_CAUSE + 64;
/** Nothing that moves a terminal's cursor, breaks a line or turns the direction of writing. */
const PRINTABLE = new RegExp(`^[\\x20-\\x7e]{1,${MOST_CAUSE}}$`);

/** The annotation of a node. @param names why rules with domain names allow nothing there; undefined, as the result, where they do */
export function writePolicyFaults(names: string | undefined): string | undefined {
  if (names === undefined) return undefined;
  const printable = names.replaceAll(/[^\x20-\x7e]+/g, " ").trim();
  return JSON.stringify({ domainNames: printable.slice(0, MOST_CAUSE) || "it does not say why" });
}

/** Why rules with domain names allow nothing on a node, by its annotation; undefined where it does not say so in a way that can be believed. */
export function readNamesFault(text: string | undefined): string | undefined {
  if (text === undefined || text.length > MOST_TEXT) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Somebody else's text: that node is not spoken for.
    return undefined;
  }
  const cause = isObject(value) && Object.hasOwn(value, "domainNames") ? value["domainNames"] : undefined;
  return typeof cause === "string" && PRINTABLE.test(cause) ? cause : undefined;
}
