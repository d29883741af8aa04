/**
 * Endpoints: pods of which other nodes must know where they are, one by one, since no block of addresses tells. What a node
 * publishes, whose an address is when two nodes say that they have it, and how one is seen to have come to another node.
 */
export { type Unmonitored, FirstFrames, type Listening } from "./first-frames.ts";
export { type Holder, type OwnInput, type OwnOutcome, ownEndpoints, type PortFacts } from "./own-endpoints.ts";
export * from "./owners.ts";
export { type ClaimPlace, type FormerClaim, nodeMac, STANDING, type Standing, StandingJudge } from "./standing.ts";
