import assert from "node:assert/strict";
import fc from "fast-check";
import { withoutManagedFields } from "../../../src/kube/wire/managed-fields.ts";

const cut = (value: unknown): unknown => JSON.parse(withoutManagedFields(Buffer.from(JSON.stringify(value))));

describe("leaving managedFields out", () => {
  const fields = [
    { manager: "kubelet", fieldsV1: { 'k:{"type":"Ready"}': { ".": {}, "f:[]": {} }, 'v:"\\"]}': [[]] } },
  ];

  it("leaves everything else, wherever they stand and whatever is in them", () => {
    fc.assert(
      fc.property(fc.json(), fc.json(), fc.string(), (before, after, name) => {
        const rest = { before, name };
        assert.deepEqual(cut({ metadata: { ...rest, managedFields: [...fields, before], after } }), {
          metadata: { ...rest, after },
        });
      }),
    );
  });

  it("is no matter of what a text says", () => {
    const annotations = { a: ',"managedFields":[', b: '\\",\\"managedFields\\":[' };
    assert.deepEqual(cut({ metadata: { annotations, managedFields: fields } }), { metadata: { annotations } });
    assert.deepEqual(cut({ metadata: { annotations } }), { metadata: { annotations } });
  });

  it("leaves what does not end as it is, for the parser to complain about", () => {
    const broken = '{"name":"a","managedFields":[{"x":"]"}';
    assert.equal(withoutManagedFields(Buffer.from(broken)), broken);
  });
});
