import assert from "node:assert/strict";
import {
  ObjectError,
  parseIPClaim,
  parseNetworkBlock,
  parseNetworkEndpoints,
  parsePodNetwork,
} from "../../../src/crd/index.ts";
import { objectsOf } from "../../support/admission.ts";
import { objections } from "../../support/crd.ts";
import { TestApi } from "../lab-api/support.ts";
import { type Case, CASES } from "./cases.ts";

const PARSERS: Readonly<Record<Case["kind"], (object: unknown) => unknown>> = {
  PodNetwork: parsePodNetwork,
  NetworkBlock: parseNetworkBlock,
  NetworkEndpoints: parseNetworkEndpoints,
  IPClaim: parseIPClaim,
};
const PLURALS: Readonly<Record<Case["kind"], string>> = {
  PodNetwork: "podnetworks",
  NetworkBlock: "networkblocks",
  NetworkEndpoints: "networkendpoints",
  IPClaim: "namespaces/default/ipclaims",
};

interface Definition {
  spec: { names: { kind: string }; versions: { schema: { openAPIV3Schema: Record<string, unknown> } }[] };
}

/** A case as an object; as JSON, so that what is undefined is not there. */
const objectOf = ({ kind, name = "it", spec }: Case): Record<string, unknown> =>
  JSON.parse(
    JSON.stringify({
      apiVersion: "skylane.dev/v1alpha1",
      kind,
      metadata: { name, ...(kind === "IPClaim" && { namespace: "default" }) },
      spec,
    }),
  ) as Record<string, unknown>;

const stored = (object: Record<string, unknown>): object => ({
  ...object,
  metadata: {
    ...(object["metadata"] as object),
    uid: "u",
    resourceVersion: "1",
    creationTimestamp: "2026-01-01T00:00:00Z",
  },
});

function takenByAgents(one: Case): boolean {
  try {
    PARSERS[one.kind](stored(objectOf(one)));
    return true;
  } catch (error) {
    if (error instanceof ObjectError) return false;
    throw error;
  }
}

describe("what is right and what is not, by one list of cases", () => {
  let api: TestApi;
  const schemas = new Map<string, Record<string, unknown>>();
  before(async () => {
    api = await TestApi.start();
    for (const { spec } of objectsOf<Definition>("CustomResourceDefinition"))
      schemas.set(spec.names.kind, spec.versions[0]?.schema.openAPIV3Schema ?? {});
  });
  after(() => api.server.close());

  for (const one of CASES) {
    it(`${one.right ? "takes" : "refuses"} ${one.what}`, async () => {
      const object = objectOf(one);
      const found = objections(schemas.get(one.kind) ?? {}, object);
      const { code, body } = await api.ask("POST", `/apis/skylane.dev/v1alpha1/${PLURALS[one.kind]}?dryRun=All`, {
        body: object,
      });
      assert.deepEqual(
        { agents: takenByAgents(one), manifest: found.length === 0 },
        { agents: one.right, manifest: one.right },
        found.join("; "),
      );
      // It has not all the rules: agents have to do with servers that have none.
      if (one.right) assert.equal(code, 201, body.message);
    });
  }
});
