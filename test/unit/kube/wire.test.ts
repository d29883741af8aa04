import assert from "node:assert/strict";
import { Readable } from "node:stream";
import fc from "fast-check";
import { FrameSplitter } from "../../../src/kube/wire/frames.ts";
import { readWireList } from "../../../src/kube/wire/list-wire.ts";
import { readWatchEvent } from "../../../src/kube/wire/metadata-wire.ts";
import { WireError } from "../../../src/kube/wire/wire.ts";
import { metadataMessage, wireEvent, wireList, wireMetadata, wireStatus } from "../../../lab/api/http/wire.ts";

/** What a kube-apiserver sent for a namespace of ours, as a list and as a watch. */
const LIST =
  "azhzAAorCg5tZXRhLms4cy5pby92MRIZUGFydGlhbE9iamVjdE1ldGFkYXRhTGlzdBLbAgoKCgASBDUzMjUaABLMAgrJAgoEc2hvcBIAGgAiACokNjQ2" +
  "YzRmZjktZGM5MS00ZDdhLTg4NjMtM2ZjNzUyNjA0NTJmMgQ1MzI1OABCCAiDwpzYBhAAWgkKBHRlYW0SAWFiDwoEbm90ZRIHR3LDvMOfZWIjChtza3ls" +
  "YW5lLmRldi9wcmltYXJ5LW5ldHdvcmsSBGJsdWV6AIoBvgEKBGN1cmwSBlVwZGF0ZRoCdjEiCAiDwpzYBhAAMghGaWVsZHNWMTqVAQqSAXsiZjptZXRh" +
  "ZGF0YSI6eyJmOmFubm90YXRpb25zIjp7Ii4iOnt9LCJmOm5vdGUiOnt9LCJmOnNreWxhbmUuZGV2L3ByaW1hcnktbmV0d29yayI6e319LCJmOmxhYmVs" +
  "cyI6eyIuIjp7fSwiZjp0ZWFtIjp7fX19LCJmOnN0YXR1cyI6eyJmOnBoYXNlIjp7fX19GgAiAA==";
const WATCH =
  "AAABjQoFQURERUQSgwMKgANrOHMACicKDm1ldGEuazhzLmlvL3YxEhVQYXJ0aWFsT2JqZWN0TWV0YWRhdGESzAIKyQIKBHNob3ASABoAIgAqJDY0NmM0" +
  "ZmY5LWRjOTEtNGQ3YS04ODYzLTNmYzc1MjYwNDUyZjIENTMyNTgAQggIg8Kc2AYQAFoJCgR0ZWFtEgFhYg8KBG5vdGUSB0dyw7zDn2ViIwobc2t5bGFu" +
  "ZS5kZXYvcHJpbWFyeS1uZXR3b3JrEgRibHVlegCKAb4BCgRjdXJsEgZVcGRhdGUaAnYxIggIg8Kc2AYQADIIRmllbGRzVjE6lQEKkgF7ImY6bWV0YWRh" +
  "dGEiOnsiZjphbm5vdGF0aW9ucyI6eyIuIjp7fSwiZjpub3RlIjp7fSwiZjpza3lsYW5lLmRldi9wcmltYXJ5LW5ldHdvcmsiOnt9fSwiZjpsYWJlbHMi" +
  "OnsiLiI6e30sImY6dGVhbSI6e319fSwiZjpzdGF0dXMiOnsiZjpwaGFzZSI6e319fRoAIgA=";
const SHOP = {
  metadata: {
    name: "shop",
    uid: "646c4ff9-dc91-4d7a-8863-3fc75260452f",
    resourceVersion: "5325",
    creationTimestamp: "2026-11-25T17:55:15Z",
    annotations: { note: "Grüße", "skylane.dev/primary-network": "blue" },
  },
};

/** Cuts bytes into chunks of these lengths, again and again. */
function* chunks(bytes: Buffer, lengths: readonly number[]): Generator<Buffer> {
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const length = lengths[n % lengths.length] ?? 1;
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

async function list(bytes: Buffer, lengths: readonly number[] = [bytes.length]) {
  const items: unknown[] = [];
  const head = await readWireList(Readable.from(chunks(bytes, lengths)), (item) => void items.push(item));
  return { head, items };
}

function frames(bytes: Buffer, lengths: readonly number[] = [bytes.length]): unknown[] {
  const events: unknown[] = [];
  const splitter = new FrameSplitter((frame) => void events.push(readWatchEvent(frame)));
  for (const chunk of chunks(bytes, lengths)) splitter.push(chunk);
  return events;
}

const meta = fc.record({
  name: fc.stringMatching(/^[a-z]{1,20}$/),
  namespace: fc.constantFrom(undefined, "apps"),
  uid: fc.uuid(),
  resourceVersion: fc.nat().map(String),
  creationTimestamp: fc
    .nat({ max: 4_000_000_000 })
    .map((seconds) => new Date(seconds * 1000).toISOString().replace(".000Z", "Z")),
  labels: fc.dictionary(fc.stringMatching(/^[a-z./]{1,30}$/), fc.string()),
  annotations: fc.dictionary(fc.stringMatching(/^[a-z./]{1,30}$/), fc.string({ unit: "grapheme", maxLength: 400 })),
});
type Meta = typeof meta extends fc.Arbitrary<infer T> ? T : never;
const cutLengths = fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 5 });
const message = ({ namespace, ...rest }: Meta): Buffer => metadataMessage({ ...rest, ...(namespace && { namespace }) });
const asRead = ({ namespace, labels: _labels, ...rest }: Meta): unknown => ({
  metadata: { ...rest, annotations: { ...rest.annotations }, ...(namespace && { namespace }) },
});

describe("metadata in protobuf", () => {
  it("is read as a kube-apiserver writes it", async () => {
    assert.deepEqual(await list(Buffer.from(LIST, "base64")), {
      head: { resourceVersion: "5325", continue: "" },
      items: [SHOP],
    });
    assert.deepEqual(frames(Buffer.from(WATCH, "base64")), [{ type: "ADDED", object: SHOP }]);
  });

  it("comes out of lists and watches whole, wherever they are cut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(meta), cutLengths, fc.string(), async (objects, lengths, token) => {
        const messages = objects.map(message);
        const bytes = wireList({ resourceVersion: "7", continue: token, remainingItemCount: 3 }, messages);
        const wanted = objects.map((one) => JSON.parse(JSON.stringify(asRead(one))) as unknown);
        const got = await list(bytes, lengths);
        assert.deepEqual(got.head, { resourceVersion: "7", continue: token });
        assert.deepEqual(JSON.parse(JSON.stringify(got.items)), wanted);
        const events = frames(Buffer.concat(messages.map((one) => wireEvent("MODIFIED", wireMetadata(one)))), lengths);
        assert.deepEqual(
          JSON.parse(JSON.stringify(events)),
          wanted.map((object) => ({ type: "MODIFIED", object })),
        );
      }),
      { numRuns: 100 },
    );
  });

  it("tells a refusal inside a watch from an object", () => {
    const status = { code: 410, reason: "Expired", message: "too old", details: { name: "a" } };
    assert.deepEqual(frames(wireEvent("ERROR", wireStatus(status))), [{ type: "ERROR", object: status }]);
  });

  it("is refused when it ends too early, and hands on no object that is not whole", async () => {
    const bytes = Buffer.from(LIST, "base64");
    const behindAll = bytes.length - 4; // two empty fields of the envelope
    for (let length = 0; length < behindAll; length++) {
      const items: unknown[] = [];
      const body = Readable.from([bytes.subarray(0, length)]);
      await assert.rejects(
        readWireList(body, (item) => void items.push(item)),
        WireError,
        `${length} bytes`,
      );
      assert.deepEqual(items, []);
    }
    const watch = Buffer.from(WATCH, "base64");
    assert.deepEqual(frames(watch.subarray(0, watch.length - 1)), []);
  });

  it("leaves an object out that makes no sense, and reads the others", async () => {
    const bad = Buffer.from("0a05", "hex");
    const good = metadataMessage({
      name: "a",
      uid: "u",
      resourceVersion: "1",
      creationTimestamp: "2026-01-01T00:00:00Z",
    });
    const { items } = await list(wireList({ resourceVersion: "7" }, [bad, good]));
    assert.equal(items[0], undefined);
    assert.equal((items[1] as typeof SHOP).metadata.name, "a");
  });

  it("ends in an error or a value, whatever bytes there are", async () => {
    const known = [Buffer.from(LIST, "base64"), Buffer.from(WATCH, "base64")];
    const change = fc.tuple(fc.nat({ max: 400 }), fc.nat({ max: 255 }));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), cutLengths, async (changes, lengths) => {
        const [bytes, watch] = known.map((one) => Buffer.from(one)) as [Buffer, Buffer];
        for (const [at, value] of changes) bytes[at] = watch[at] = value;
        const onlyWire = (error: unknown): void => assert.ok(error instanceof WireError, String(error));
        await list(bytes, lengths).catch(onlyWire);
        try {
          frames(watch, lengths);
        } catch (error) {
          onlyWire(error);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it("gives a watch up whose next event cannot be found", () => {
    assert.throws(() => frames(Buffer.from("7fffffff00", "hex")), WireError);
  });
});
