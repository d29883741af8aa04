/**
 * What a pod's annotations ask for: interfaces in networks beside the default one. `skylane.dev/networks` has a short form,
 * `blue, green@eth5`, and JSON for the rest; the de-facto standard's `k8s.v1.cni.cncf.io/networks` (Kubernetes Network Custom
 * Resource Definition De-facto Standard 1.3, section 4.1) is understood where it names networks of ours.
 */
import { isNetworkName } from "../names.ts";
import { parsePodMac } from "./pod-mac.ts";
import { readItems, type Syntax, SelectionError } from "./selection-syntax.ts";
import { addressesOf, interfaceOf, wrong } from "./selection-values.ts";

export const NETWORKS_ANNOTATION = "skylane.dev/networks";
/** The de-facto standard's. */
const STANDARD_ANNOTATION = "k8s.v1.cni.cncf.io/networks";
/** Names the network that a pod's default route leads into; on a Namespace for all its pods. */
export const PRIMARY_ANNOTATION = "skylane.dev/primary-network";

/** One interface that is asked for. */
export interface NetworkSelection {
  network: string;
  ifname: string;
  /** Canonical, at most one a family. */
  ips?: string[];
  mac?: string;
  /** Name of the IPClaim in the pod's namespace whose addresses it is to have. */
  claim?: string;
  /** While another pod has the claim, this one waits, and takes over once it sends: the target of a live migration. */
  standby?: boolean;
}

/** One that need not have the interface's name yet. */
type Raw = Omit<NetworkSelection, "ifname"> & { ifname?: string };

const MAX_SELECTIONS = 32;
const OWN_KEYS = ["name", "interface", "ips", "mac", "claim", "standby"];
/** Names that no additional interface can have. */
const TAKEN = ["eth0", "lo"];

/** Interfaces that our own annotation asks for. @throws SelectionError naming the annotation and what is wrong */
export const parseNetworksAnnotation = (text: string): NetworkSelection[] => named(readOwn(text), []);

/**
 * All interfaces that a pod's annotations ask for.
 * @param known whether a name is one of our networks: the standard annotation may name others', which are not ours to attach
 * @param primary a network that the pod is to be in whether they ask for it or not
 * @throws SelectionError
 */
export function readSelections(
  annotations: Readonly<Record<string, string>>,
  known: (network: string) => boolean,
  primary?: string,
): NetworkSelection[] {
  const own = annotations[NETWORKS_ANNOTATION];
  const standard = annotations[STANDARD_ANNOTATION];
  const { ours, theirs } = standard === undefined ? { ours: [], theirs: [] } : readStandard(standard, known);
  const asked = [...(own === undefined ? [] : readOwn(own)), ...ours];
  const implied = primary !== undefined && asked.every(({ network }) => network !== primary);
  return named([...asked, ...(implied ? [{ network: primary }] : [])], theirs);
}

/**
 * The network of a pod's default route as its annotations or else its namespace's have it; undefined where neither says
 * anything. @throws SelectionError
 */
export function primaryNetwork(
  pod: Readonly<Record<string, string>>,
  namespace: Readonly<Record<string, string>>,
): string | undefined {
  const text = pod[PRIMARY_ANNOTATION] ?? namespace[PRIMARY_ANNOTATION];
  if (text === undefined) return undefined;
  const name = text.trim();
  return isNetworkName(name) ? name : wrong(PRIMARY_ANNOTATION, text, "the name of a pod network");
}

function readOwn(text: string): Raw[] {
  const key = NETWORKS_ANNOTATION;
  const syntax: Syntax = { key, namespaces: false };
  return limited(
    readItems(syntax, text).map((item) => {
      const unknown = Object.keys(item).find((one) => !OWN_KEYS.includes(one));
      if (unknown !== undefined) return wrong(key, unknown, `a key of an interface: ${OWN_KEYS.join(", ")}`);
      const { claim, standby } = item;
      const selection = selectionOf(key, item, claim);
      if (standby === undefined) return selection;
      if (typeof standby !== "boolean") return wrong(key, standby, "true or false");
      if (claim === undefined) throw new SelectionError(`annotation ${key}: standby is for interfaces with a claim`);
      return { ...selection, standby };
    }),
  );
}

/** Ours of the standard's annotation, and the names that interfaces of others will have. */
function readStandard(text: string, known: (network: string) => boolean): { ours: Raw[]; theirs: string[] } {
  const key = STANDARD_ANNOTATION;
  const ours: Raw[] = [];
  const theirs: string[] = [];
  for (const [at, item] of readItems({ key, namespaces: true }, text).entries()) {
    const { name, interface: ifname } = item;
    // Others name what they attach after its place in the whole list.
    const byPlace = `net${at + 1}`;
    if (typeof name !== "string" || !known(name)) theirs.push(typeof ifname === "string" ? ifname : byPlace);
    else ours.push({ ifname: byPlace, ...selectionOf(key, item, undefined) });
  }
  return { ours: limited(ours), theirs };
}

function limited(selections: Raw[]): Raw[] {
  if (selections.length > MAX_SELECTIONS)
    throw new SelectionError(`a pod may have at most ${MAX_SELECTIONS} additional interfaces`);
  return selections;
}

function selectionOf(key: string, item: Readonly<Record<string, unknown>>, claim: unknown): Raw {
  const { name, interface: ifname, ips, mac } = item;
  if (typeof name !== "string" || !isNetworkName(name)) return wrong(key, name, "the name of a pod network");
  if (claim !== undefined && (typeof claim !== "string" || !/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(claim)))
    return wrong(key, claim, "the name of an IPClaim");
  const addresses = ips === undefined ? [] : addressesOf(key, ips);
  return {
    network: name,
    ...(ifname !== undefined && { ifname: interfaceOf(key, ifname) }),
    ...(addresses.length > 0 && { ips: addresses }),
    ...(mac !== undefined && { mac: macOf(key, mac) }),
    ...(claim !== undefined && { claim }),
  };
}

function macOf(key: string, mac: unknown): string {
  try {
    return parsePodMac(String(mac));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return wrong(key, mac, "a MAC address");
  }
}

/** Gives names to those that have none: net1, net2, … as the standard has it, beside those that are taken. */
function named(raw: readonly Raw[], theirs: readonly string[]): NetworkSelection[] {
  const taken = new Set([...TAKEN, ...theirs]);
  for (const { ifname, network } of raw) {
    if (ifname === undefined) continue;
    if (taken.has(ifname)) throw new SelectionError(`interface ${ifname} is asked for twice (network "${network}")`);
    taken.add(ifname);
  }
  let next = 1;
  return raw.map(({ ifname, ...selection }) => {
    if (ifname !== undefined) return { ...selection, ifname };
    while (taken.has(`net${next}`)) next++;
    return { ...selection, ifname: `net${next++}` };
  });
}
