/** An API with blocks, claims, pods and nodes, which loses answers as its blocks' half does. */
import {
  Claims,
  type ClaimObjects,
  type ClaimsOptions,
  type PodFacts,
  sweepClaims,
} from "../../../src/ipam/claims/index.ts";
import { ApiError } from "../../../src/kube/index.ts";
import { type IPClaimInfo, parseIPClaim } from "../../../src/crd/index.ts";
import { FakeApi } from "../blocks/fake-api.ts";

interface StoredClaim {
  metadata: { namespace: string; name: string; uid: string; resourceVersion: string; creationTimestamp: string };
  spec: Record<string, unknown>;
  status: Record<string, unknown>;
}

export const CIDRS = ["10.1.0.0/24", "fd00:1::/64"];

export class World {
  readonly blocks = new FakeApi();
  readonly pods = new Map<string, PodFacts>();
  readonly nodes = new Set(["n1", "n2", "n3"]);
  /** Told after each change of a claim. */
  changed: () => void = () => undefined;
  readonly #claims = new Map<string, StoredClaim>();
  #version = 0;

  /** Makes a claim in the namespace shop. */
  make(name: string, spec: object = {}): void {
    const version = String(++this.#version);
    const claim: StoredClaim = {
      metadata: {
        namespace: "shop",
        name,
        uid: `claim-${version}`,
        resourceVersion: version,
        creationTimestamp: "2026-01-01T00:00:00Z",
      },
      spec: { network: "blue", ...spec },
      status: {},
    };
    this.#claims.set(`shop/${name}`, claim);
  }

  unmake(name: string): void {
    this.#claims.delete(`shop/${name}`);
  }

  /** Puts a new pod of that name on a node. */
  run(name: string, node: string): PodFacts {
    const pod = { uid: `pod-${++this.#version}`, node, finished: false };
    this.pods.set(`shop/${name}`, pod);
    return pod;
  }

  claims = (): IPClaimInfo[] => [...this.#claims.values()].map(parseIPClaim);
  claim = (name: string): IPClaimInfo | undefined => this.claims().find((one) => one.name === name);

  /** Entries of all blocks: address → holder. */
  entries = (): Record<string, string> =>
    Object.assign({}, ...this.blocks.blocks().map(({ addresses }) => addresses)) as Record<string, string>;

  on(node: string, options: Partial<ClaimsOptions> = {}): Claims {
    return new Claims({
      network: "blue",
      cidrs: CIDRS,
      blockSize: 8,
      node,
      claims: this.objects(),
      blocks: this.blocks.client(),
      taken: async () => this.blocks.blocks(),
      ...options,
    });
  }

  /** Frees what belongs to claims that are gone. */
  sweep(inUse: (ip: string) => boolean = () => false): Promise<string[]> {
    const blocks = this.blocks.client();
    return sweepClaims({ network: "blue", blocks, claims: this.objects(), inUse: async () => inUse });
  }

  objects(): ClaimObjects {
    const serve = this.blocks.serve;
    return {
      get: (namespace, name) => serve("get", name, () => this.#claims.get(`${namespace}/${name}`)),
      list: (namespace) =>
        serve("list", "claims", () =>
          [...this.#claims.values()].filter(({ metadata }) => (namespace ?? metadata.namespace) === metadata.namespace),
        ),
      patchStatus: (namespace, name, status, version) =>
        serve("patch", name, () => this.#patch(`${namespace}/${name}`, status, version)),
      pod: (namespace, name) => serve("get", name, () => this.pods.get(`${namespace}/${name}`)),
      nodeExists: (name) => serve("get", name, () => this.nodes.has(name)),
    };
  }

  #patch(key: string, status: object, version: string): StoredClaim {
    const claim = this.#claims.get(key);
    if (claim === undefined) throw new ApiError("PATCH", 404, { reason: "NotFound" });
    if (claim.metadata.resourceVersion !== version) throw new ApiError("PATCH", 409, { reason: "Conflict" });
    const before = JSON.stringify(claim.status);
    Object.assign(claim.status, structuredClone(status));
    // As on a real server, what changes nothing is no new version.
    if (JSON.stringify(claim.status) !== before) claim.metadata.resourceVersion = String(++this.#version);
    this.changed();
    return claim;
  }
}
