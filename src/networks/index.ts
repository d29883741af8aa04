/** Pod networks as the API server has them: how they are defined, which blocks of their addresses a node has, who may attach. */
export { BlockClaims, BlocksExhausted } from "./block-claims.ts";
export { chooseNetworks, type RefusedNetwork } from "./conflicts.ts";
export { selects } from "./label-selector.ts";
export { POD_NETWORKS, type PodNetworkInfo, parsePodNetwork, samePodNetwork } from "./pod-network.ts";
export { NETWORKS_ANNOTATION, readWishes, STANDARD_ANNOTATION, type Wish, WishError } from "./wishes.ts";
