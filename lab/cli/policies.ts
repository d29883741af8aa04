/** `lab policy …`. */
import { readFileSync } from "node:fs";
import { type Command, CommandError, describeError, type Input, table, UsageError } from "../../src/cli/index.ts";
import type { Lab } from "../lab.ts";
import type { AppliedPolicy } from "../pods/policies.ts";
import { ANSWER, answer, withLab } from "./common.ts";

/** What became of policies, as a table. */
const appliedTable = (policies: readonly AppliedPolicy[]): string =>
  table(
    ["KIND", "NAMESPACE", "NAME", "RESULT"],
    policies.map(({ kind, namespace, name, result }) => [kind, namespace, name, result]),
  );

/** @throws CommandError when the file cannot be read */
function textOf(input: Input): string {
  const file = input.text("filename");
  if (file === undefined) throw new UsageError("say which file: -f FILE, or -f - for standard input");
  try {
    return readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (cause) {
    throw new CommandError(`${file} cannot be read: ${describeError(cause)}`);
  }
}

const verb = (
  word: "apply" | "delete",
  summary: string,
  run: (lab: Lab, text: string) => Promise<AppliedPolicy[]>,
): Command => ({
  words: ["lab", "policy", word],
  summary,
  options: {
    ...ANSWER,
    filename: { value: "FILE", short: "f", help: "YAML or JSON, a policy a document; - is standard input" },
  },
  run: async (input) => {
    const text = textOf(input);
    return withLab(input, async (lab) => {
      const policies = await run(lab, text);
      await answer(input, policies, () => appliedTable(policies));
      return 0;
    });
  },
});

export const policyCommands: readonly Command[] = [
  verb("apply", "Makes or changes network policies", (lab, text) => lab.applyPolicies(text)),
  verb("delete", "Deletes network policies", (lab, text) => lab.deletePolicies(text)),
];
