/**
 * Versions of the CNI specification: which ones Skylane speaks, and which verb came with which.
 */

/** Every version that is spoken, oldest first. Results before 0.3.0 had another shape and cannot carry several interfaces. */
export const SUPPORTED_VERSIONS: readonly string[] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/** The newest version that is spoken. */
export const NEWEST_VERSION = "1.1.0";

/** What a configuration without `cniVersion` means (the spec's default before the key was required). */
export const VERSION_WHEN_ABSENT = "0.1.0";

/** The verbs of the protocol. */
export type Verb = "ADD" | "DEL" | "CHECK" | "GC" | "STATUS" | "VERSION";

/** The version in which each verb appeared. */
const SINCE: Readonly<Record<Verb, string>> = {
  ADD: "0.3.0",
  DEL: "0.3.0",
  VERSION: "0.3.0",
  CHECK: "0.4.0",
  GC: "1.1.0",
  STATUS: "1.1.0",
};

/** Whether a text is one of the protocol's verbs. */
export const isVerb = (text: string): text is Verb => Object.hasOwn(SINCE, text);

/** Whether a supported version is the same as or newer than another supported one. */
export const atLeast = (version: string, other: string): boolean =>
  SUPPORTED_VERSIONS.indexOf(version) >= SUPPORTED_VERSIONS.indexOf(other);

/** Whether a version has a verb. */
export const hasVerb = (version: string, verb: Verb): boolean => atLeast(version, SINCE[verb]);

/** The version in which a verb appeared, for messages. */
export const sinceVersion = (verb: Verb): string => SINCE[verb];

/** The newest version that both we and another plugin speak, no newer than `limit`; undefined when there is none. */
export function newestCommon(theirs: readonly string[], limit: string): string | undefined {
  return SUPPORTED_VERSIONS.findLast((version) => atLeast(limit, version) && theirs.includes(version));
}
