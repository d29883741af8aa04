/**
 * How much a pod may receive and send, and how people and runtimes say it: annotations with Kubernetes quantities of bits a second, and
 * `runtimeConfig.bandwidth` with numbers (CNI CONVENTIONS.md, capability `bandwidth`).
 */

/** A limit of one direction. */
export interface Limit {
  /** In bits a second. */
  rate: number;
  /** What may pass at once after a pause, in bits, where somebody has asked for less than is usual. */
  burst?: number;
}

/** Limits of a pod's interface; absent: none. As in Kubernetes, ingress is what the pod receives. */
export interface Limits {
  ingress?: Limit;
  egress?: Limit;
}

/** The annotations of a Pod that say them (Kubernetes, "Support traffic shaping" of network plugins). */
export const BANDWIDTH_ANNOTATIONS = {
  ingress: "kubernetes.io/ingress-bandwidth",
  egress: "kubernetes.io/egress-bandwidth",
} as const;
export const DIRECTIONS = ["ingress", "egress"] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** Smallest and largest rate, in bits a second: those of Kubernetes (pkg/util/bandwidth/utils.go), 1k and 1P. */
const [LEAST, MOST] = [1e3, 1e15];
export const RATE_RULE = "a rate of 1k to 1P bits a second, as 10M";

const SUFFIXES: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};
/** A quantity (k8s.io/apimachinery/pkg/api/resource): a decimal number, and a suffix or an exponent. */
const QUANTITY = /^\+?(\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?$/;

/** Whether a number is a rate that can be kept. */
export const isRate = (rate: number): boolean => Number.isSafeInteger(rate) && rate >= LEAST && rate <= MOST;

/** A rate in bits a second out of a quantity, rounded up as Kubernetes does; undefined where it is none, or not within bounds. */
export function parseRate(text: string): number | undefined {
  const [, digits, suffix, exponent] = QUANTITY.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const factor = suffix === undefined ? 10 ** Number(exponent ?? 0) : (SUFFIXES[suffix] as number);
  // what a binary fraction is off by is no bit more
  const rate = Math.ceil(Number((Number(digits) * factor).toPrecision(15)));
  return isRate(rate) ? rate : undefined;
}

/** What annotations say, and why others of them limit nothing. */
export interface Annotated {
  limits: Limits;
  /** In words, one for each annotation that is no rate. */
  faults: string[];
}

/** Reads the annotations of a Pod. A value that is no rate limits nothing. */
export function annotatedLimits(annotations: Readonly<Record<string, unknown>>): Annotated {
  const limits: Limits = {};
  const faults: string[] = [];
  for (const direction of DIRECTIONS) {
    const key = BANDWIDTH_ANNOTATIONS[direction];
    const value = annotations[key];
    if (value === undefined) continue;
    const rate = typeof value === "string" ? parseRate(value) : undefined;
    if (rate !== undefined) limits[direction] = { rate };
    else faults.push(`annotation ${key} is ${JSON.stringify(value).slice(0, 60)}, and should be ${RATE_RULE}`);
  }
  return { limits, faults };
}

export const isUnlimited = ({ ingress, egress }: Limits): boolean => !ingress && !egress;

export const sameLimits = (a: Limits, b: Limits): boolean =>
  DIRECTIONS.every((one) => a[one]?.rate === b[one]?.rate && a[one]?.burst === b[one]?.burst);

const UNITS = ["", "k", "M", "G", "T", "P"];

/** A rate for people, as short as it can be said without loss: "10M", "1536k", "1234567". */
export function rateText(rate: number): string {
  let [value, unit] = [rate, 0];
  while (value >= 1_000 && value % 1_000 === 0 && unit < UNITS.length - 1) [value, unit] = [value / 1_000, unit + 1];
  return `${value}${UNITS[unit]}`;
}
