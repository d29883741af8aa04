/** Objects of pod networks as the API server would send them. */
import { seededRandom } from "../../support/random.ts";

type Json = Record<string, unknown>;

const meta = (name: string, more: Json = {}): Json => ({
  name,
  uid: `uid-${name}`,
  resourceVersion: "7",
  creationTimestamp: "2026-01-01T00:00:00Z",
  ...more,
});

export const podNetwork = (name: string, spec: Json = {}, metadata: Json = {}): Json => ({
  metadata: meta(name, metadata),
  spec: { vni: 100, cidrs: ["10.1.0.0/16"], ...spec },
});

export const networkBlock = (name: string, spec: Json): Json => ({ metadata: meta(name), spec });

export const ipClaim = (spec: Json, status?: Json, metadata: Json = { namespace: "team" }): Json => ({
  metadata: meta("db-0", metadata),
  spec: { network: "blue", ...spec },
  ...(status && { status }),
});

/** Whole numbers from 0 to below a bound, the same ones for the same seed. */
export function generator(seed: number): (below: number) => number {
  const random = seededRandom(seed);
  return (below) => Math.floor(random() * below);
}
