/** When an agent says on its Node that it cannot keep domain names of policies, and when not. */
import assert from "node:assert/strict";
import { PolicyFaults } from "../../../src/agent/policy-faults.ts";
import type { OwnFacts } from "../../../src/nodes/index.ts";
import { readNamesFault } from "../../../src/policy/index.ts";
import { eventually } from "../../support/eventually.ts";

describe("what an agent says of itself about policies", () => {
  let own: OwnFacts | undefined;
  let names: { known: boolean; fault: string | undefined };
  let asked: number;
  let writes: (string | null)[];
  let refusals: number;
  let faults: PolicyFaults;
  const warnings: string[] = [];

  beforeEach(() => {
    own = { name: "n1", uid: "u1", podCidrs: [], internalIps: [] };
    names = { known: true, fault: undefined };
    asked = 0;
    writes = [];
    refusals = 0;
    warnings.length = 0;
    faults = new PolicyFaults({
      log: { warn: (message: string) => void warnings.push(message) } as never,
      own: () => own,
      names: () => {
        asked++;
        return names;
      },
      annotate: async (text) => {
        if (refusals-- > 0) throw new Error("away");
        writes.push(text);
      },
      soonMs: 0,
    });
  });
  afterEach(() => faults.stop());

  const looked = async (): Promise<void> => {
    const before = asked;
    faults.poke();
    await eventually(() => asked > before);
  };

  it("is written once when there is a fault, and taken away once when it ends", async () => {
    await looked();
    names = { known: true, fault: "busy" };
    await looked();
    await eventually(() => writes.length === 1);
    await looked();
    names = { known: true, fault: undefined };
    await looked();
    await eventually(() => writes.length === 2);
    await looked();
    assert.equal(readNamesFault(writes[0] ?? undefined), "busy");
    assert.equal(writes[1], null);
    assert.equal(writes.length, 2);
  });

  it("is never written where nothing is wrong", async () => {
    for (let n = 0; n < 3; n++) await looked();
    await faults.stop();
    assert.deepEqual(writes, []);
  });

  it("stays as the agent before this one left it until it is known better, or there is nobody to tell", async () => {
    const before = '{"domainNames":"busy"}';
    own = { ...(own as OwnFacts), policyFaults: before };
    names = { known: false, fault: undefined };
    await looked();
    const there = own;
    own = undefined;
    names = { known: true, fault: undefined };
    await looked();
    assert.deepEqual(writes, []);
    own = there;
    names = { known: true, fault: "busy" };
    await looked();
    assert.deepEqual(writes, []);
    names = { known: true, fault: undefined };
    await looked();
    await eventually(() => writes.length === 1);
    assert.equal(writes[0], null);
  });

  it("is put back where somebody takes it away, and tried again where the API server is away", async () => {
    names = { known: true, fault: "busy" };
    refusals = 1;
    await looked();
    await eventually(() => writes.length === 1);
    assert.equal(warnings.length, 1);
    delete own?.policyFaults;
    await looked();
    await eventually(() => writes.length === 2);
    assert.equal(writes[1], writes[0]);
  });
});
