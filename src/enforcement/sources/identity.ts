/** Who an object of the API is, as far as what is watched here needs it. */
import { isObject } from "../../json/index.ts";

/** What an object says of itself. */
export interface Identity {
  readonly name: string;
  /** Absent for objects of the cluster. */
  readonly namespace?: string;
  readonly uid: string;
  readonly resourceVersion: string;
}

/** Reads it. @throws TypeError when it has no name, uid or version */
export function identityOf(object: unknown): Identity {
  const metadata = isObject(object) && isObject(object["metadata"]) ? object["metadata"] : {};
  const text = (key: string): string => {
    const value = metadata[key];
    if (typeof value !== "string" || value === "") throw new TypeError(`metadata.${key} is no text`);
    return value;
  };
  const { namespace } = metadata;
  return {
    name: text("name"),
    ...(typeof namespace === "string" && namespace !== "" && { namespace }),
    uid: text("uid"),
    resourceVersion: text("resourceVersion"),
  };
}
