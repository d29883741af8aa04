/**
 * Readiness: a list of named questions, each answered anew when somebody asks. "Ready" is the claim that pods
 * of this node can talk over the overlay, so every part that this rests on has its own line, and the one that
 * fails says what is missing.
 */

/** One question's answer. */
export interface Check {
  name: string;
  ok: boolean;
  message: string;
}

/** All answers. */
export interface Readiness {
  ready: boolean;
  checks: Check[];
}

/** An answer of a part. */
export interface CheckResult {
  ok: boolean;
  message: string;
}

/** A named question; what it returns becomes a {@link Check}, and a throw is a "no" with the error's text. */
export interface Question {
  name: string;
  ask: () => CheckResult;
}

/** Asks all questions. */
export function assess(questions: readonly Question[]): Readiness {
  const checks = questions.map(({ name, ask }): Check => {
    try {
      return { name, ...ask() };
    } catch (error) {
      return { name, ok: false, message: error instanceof Error ? error.message : String(error) };
    }
  });
  return { ready: checks.every(({ ok }) => ok), checks };
}
