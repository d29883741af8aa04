/** Network namespaces of pod networks: each node has one for every network but the default one that it takes part in. */
export { ensureSpace, listSpaces, openSpace, Space, spaceName, spacePath } from "./space.ts";

export type { NetnsMounter } from "./netns-mounter.ts";
