/** Network namespaces of pod networks: each node has one for every network but the default one that it takes part in. */
export { settle } from "./settings.ts";
export { ensureSpace, listSpaces, NETNS_DIR, newSpace, openSpace, Space, spaceName, spacePath } from "./space.ts";

export type { NetnsMounter } from "./netns-mounter.ts";
