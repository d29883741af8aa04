/** JSON merge patch, RFC 7386: null removes, objects merge, everything else (lists too) replaces. */
import { isObject, type Json } from "../types.ts";

/** The target after the patch. Neither argument is changed; unchanged parts are shared. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const result = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === undefined) continue;
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}
