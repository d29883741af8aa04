/** What the agent answers about policies, on its Unix socket alone: names of pods and policies are for the operator of the node. */
import { json, type Routes, text } from "../../http/index.ts";
import type { Explanation, PolicyList } from "./documents.ts";
import { type Question, QuestionError, readQuestion } from "./question.ts";

/** `/policies`, and `/policies/explain` with a question (see {@link readQuestion}). */
export const policyRoutes = (engine: {
  list: () => Promise<PolicyList>;
  explain: (question: Question) => Explanation;
}): Routes => ({
  "/policies": async () => json(200, await engine.list()),
  "/policies/explain": (query) => {
    try {
      return json(200, engine.explain(readQuestion(query)));
    } catch (error) {
      if (error instanceof QuestionError) return text(400, `${error.message}\n`);
      throw error;
    }
  },
});
