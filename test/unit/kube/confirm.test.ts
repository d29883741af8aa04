/** Doubts about more objects than are asked about. */
import assert from "node:assert/strict";
import { ApiError } from "../../../src/kube/client/api-error.ts";
import { Confirmations, type ConfirmOptions } from "../../../src/kube/informer/confirm.ts";

const names = Array.from({ length: 50 }, (_, i) => `shop/web-${i}`);

/** What came of doubts about the names, of which some are there. */
async function asked(
  there: readonly string[],
  more: Partial<ConfirmOptions> = {},
  during?: (one: Confirmations) => void,
) {
  const [questions, gone, counts]: [string[], string[], number[]] = [[], [], []];
  let wrongly: number | undefined;
  const confirmations: Confirmations = new Confirmations({
    get: async (name) => {
      questions.push(name);
      if (questions.length === 1) during?.(confirmations);
      if (there.includes(name)) return { name };
      const object = name.slice(name.indexOf("/") + 1);
      throw new ApiError("x", 404, { reason: "NotFound", name: object });
    },
    onPresent: () => true,
    onGone: (name) => void gone.push(name),
    onError: () => undefined,
    onSettled: (count) => {
      wrongly = count;
    },
    onCount: (count) => void counts.push(count),
    backoff: { baseMs: 1, capMs: 2 },
    signal: new AbortController().signal,
    ...more,
  });
  confirmations.doubt(names);
  await confirmations.idle();
  return { questions, gone: gone.toSorted((a, b) => a.localeCompare(b)), wrongly, counts };
}

describe("kube: confirmations", () => {
  const sorted = (list: readonly string[]) => list.toSorted((a, b) => a.localeCompare(b));

  it("ask about some that stand for all, when there are many", async () => {
    const { questions, gone, wrongly, counts } = await asked([], { mostAsked: 10 });
    assert.deepEqual([questions.length, new Set(questions).size, wrongly], [10, 10, undefined]);
    assert.deepEqual(gone, sorted(names));
    assert.deepEqual([counts[0], counts.at(-1)], [50, 0]);
  });

  it("ask about others each time", async () => {
    const sets = new Set<string>();
    for (let i = 0; i < 5; i++) sets.add(sorted((await asked([], { mostAsked: 10 })).questions).join());
    assert.ok(sets.size > 1);
  });

  it("take away no more than what they asked about when one of it is there", async () => {
    const { questions, gone, wrongly } = await asked(names.slice(1), { mostAsked: 10 });
    assert.equal(questions.length, 10);
    assert.ok((wrongly ?? 0) >= 9, "the set was not complete");
    assert.ok(gone.length <= 1);
  });

  it("ask about all when there are few, and leave out what was settled meanwhile", async () => {
    assert.equal((await asked([], { mostAsked: 50 })).questions.length, 50);
    const { gone } = await asked([], { mostAsked: 10 }, (one) =>
      names.slice(0, 40).forEach((name) => one.settle(name)),
    );
    assert.ok(
      gone.every((name) => !names.slice(0, 40).includes(name)),
      "what was heard of is not gone",
    );
    assert.equal(gone.length, 10);
  });

  it("do not count as wrongly left out what is there and belongs to the set no more", async () => {
    const { wrongly } = await asked(names, { mostAsked: 10, onPresent: () => false });
    assert.equal(wrongly, undefined);
  });
});
