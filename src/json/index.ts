/** Decoded JSON whose shape nobody has looked at yet. */

/** An object of which nothing is known but that it is one. */
export type Json = Readonly<Record<string, unknown>>;

/** Whether a value is an object: not null, and no list. */
export const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Names an object of the API in maps and messages: "namespace/name", or the name alone. */
export const keyOf = ({ namespace, name }: { namespace: string | undefined; name: string }): string =>
  namespace === undefined ? name : `${namespace}/${name}`;

/** What is at a path of keys in it; undefined where one of them is no object's. */
export const part = (value: unknown, ...keys: string[]): unknown =>
  keys.reduce((at, key) => (isObject(at) ? at[key] : undefined), value);
