/**
 * Label selectors as Kubernetes has them (apimachinery, metav1.LabelSelector), made ready for being asked tens of thousands of
 * times: requirements in one order, so that equal selectors have equal keys.
 */

/** Labels of an object. */
export type Labels = Readonly<Record<string, string>>;

export const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"] as const;

/** One condition on one label. */
export interface Requirement {
  label: string;
  operator: (typeof OPERATORS)[number];
  /** Not empty for In and NotIn, empty for the others. */
  values: readonly string[];
}

/** All of its requirements must hold; one without any selects everything. */
export interface Selector {
  /** The same for selectors that say the same in another order. */
  readonly key: string;
  readonly requirements: readonly Requirement[];
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Selectors that were made, since thousands of policies say the same; forgotten where too many are different. */
const known = new Map<string, Selector>();
const MOST_KNOWN = 10_000;

/** A selector of requirements. */
export function selectorOf(requirements: readonly Requirement[]): Selector {
  const keyed = requirements.map(({ label, operator, values }) => {
    const sorted = [...new Set(values)].sort(compare);
    return { label, operator, values: sorted, key: JSON.stringify([label, operator, ...sorted]) };
  });
  const unique = [...new Map(keyed.map((one) => [one.key, one])).values()].sort((a, b) => compare(a.key, b.key));
  const key = unique.map((one) => one.key).join();
  const same = known.get(key);
  if (same) return same;
  const selector: Selector = {
    key,
    requirements: unique.map(({ label, operator, values }) => ({ label, operator, values })),
  };
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(key, selector);
  return selector;
}

/** Selects everything. */
export const EVERYTHING_SELECTED: Selector = selectorOf([]);

/** Whether labels are selected. NotIn also selects what has no such label. */
export function selects({ requirements }: Selector, labels: Labels): boolean {
  for (const { label, operator, values } of requirements) {
    const value = Object.hasOwn(labels, label) ? labels[label] : undefined;
    if (operator === "Exists" ? value === undefined : operator === "DoesNotExist" ? value !== undefined : false)
      return false;
    if (operator === "In" && (value === undefined || !values.includes(value))) return false;
    if (operator === "NotIn" && value !== undefined && values.includes(value)) return false;
  }
  return true;
}
