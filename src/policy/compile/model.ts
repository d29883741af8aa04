/**
 * Policies, pods, namespaces and nodes in, rules out, change by change. It does no I/O and knows no clock.
 *
 * What a change costs follows from what it touches: a pod whose labels change gets another identity, and its address another class,
 * which is one element of one map and, where the class is new, some in the maps of the profiles that ask about it. Only what makes or ends a profile,
 * a policy that selects pods of this node, changes chains. Policies that select no pod here are not compiled at all.
 */
import { isDeepStrictEqual } from "node:util";
import { cidrOf, type Family, FAMILIES, familyOf } from "../../addr/index.ts";
import { isAmong } from "../semantics/domain-names.ts";
import type { Packet } from "../semantics/oracle.ts";
import { selects } from "../semantics/selector.ts";
import {
  type ClusterNode,
  namedBy,
  type NamedPort,
  type Namespace,
  type Pod,
  type Policy,
  policyKeyOf,
} from "../semantics/types.ts";
import { Answers, hasName } from "./answers.ts";
import type { Atom } from "./atoms.ts";
import { pointOf } from "./axis.ts";
import { Blocks, type Interval } from "./blocks.ts";
import type { Change, Changes, Revocation } from "./changes.ts";
import { type AddressClass, Classes, NOBODY } from "./classes.ts";
import { losesBy } from "./decide.ts";
import { type Identity, NO_ATOMS } from "./cluster/identities.ts";
import type { Profile } from "./profile.ts";
import { Profiles, type ProfileSwap } from "./profiles.ts";
import { NAME_CHAINS, type Outcome, type Place, Ruleset } from "./ruleset.ts";
import { DnsServers } from "./dns-servers.ts";
import { Subjects } from "./subjects.ts";
import { keyOf } from "../../json/index.ts";

export class PolicyModel {
  readonly #answers = new Answers();
  readonly ruleset = new Ruleset(this.#answers.addresses.classes);
  readonly #node: string;
  readonly #podCidrs: readonly string[];
  readonly #classes = new Classes();
  readonly #blocks = new Blocks();
  readonly #subjects = new Subjects();
  readonly #profiles: Profiles;
  readonly #servers = new DnsServers(this.ruleset);
  /** Addresses that have a class for their names. */
  readonly #named = new Set<string>();
  /** Of the change under way: addresses of pods that are here, or were, whose profiles may be other ones; classes that identities have. */
  #reassigned = new Set<string>();
  /** Who pods here are that have no addresses yet. */
  #expected = new Set<Identity>();
  #found = new Map<Identity, Map<readonly Atom[], AddressClass>>();

  /**
   * @param node name of the node whose pods the rules are for
   * @param podCidrs where most pods of the cluster have their addresses: a hint, which changes what rules cost and not what they say
   * @param kept how many profiles stay that no pod has at present: the next pod of the kind finds its rules in the kernel, and one that is to come, too
   */
  constructor(node: string, podCidrs: readonly string[] = [], kept = 0) {
    this.#node = node;
    this.#podCidrs = podCidrs;
    this.#profiles = new Profiles({
      kept,
      ruleset: this.ruleset,
      subjects: this.#subjects,
      namespaceOf: (name) => this.#answers.namespaces.get(name),
      acquire: (spec) => this.#answers.ask(spec),
      release: (atom) => this.#answers.atoms.release(atom),
      podsInside: (family, intervals) => this.#podsInside(family, intervals),
    });
  }

  /** No policy selects a pod here, or did lately: no rules are needed. */
  get idle(): boolean {
    return this.#profiles.size === 0;
  }

  /** How much there is of everything, for metrics and tests. */
  sizes(): Record<"pods" | "identities" | "atoms" | "classes" | "profiles" | "policies", number> {
    return {
      pods: this.#answers.pods.size,
      identities: this.#answers.identities.size,
      atoms: this.#answers.atoms.size,
      classes: this.#classes.size,
      profiles: this.#profiles.size,
      policies: this.#subjects.size,
    };
  }

  /** What comes of a packet of a pod here in one place; undefined where no policy selects the pod. */
  outcomeAt(place: Place, packet: Packet): Outcome | undefined {
    return this.#outcomeAt(place, packet, (peer) => {
      const named = place === "ingress" ? undefined : this.ruleset.get(`named${familyOf(peer)}`, peer);
      return named === undefined ? this.#classOf(peer) : this.#classes.byId(classOfNamed(named as string));
    });
  }

  #outcomeAt(
    place: Place,
    { source, destination, protocol, port }: Packet,
    classOf: (peer: string) => AddressClass,
  ): Outcome | undefined {
    const [ip, peer] = place === "ingress" ? [destination, source] : [source, destination];
    const profile = this.#profiles.at(place, ip);
    if (!profile) return undefined;
    const point = pointOf(protocol, port);
    return profile.decide(classOf(peer)).line.find(({ to }) => point <= to)?.value;
  }

  /**
   * Whether the rules of pods here let a packet pass that begins a connection: what is asked of those that are there already when rules change. A
   * connection goes on that began while a domain name had the address.
   * @param toNode it goes to this node itself
   */
  passes(packet: Packet, toNode = false): boolean {
    if (packet.source === packet.destination) return true;
    const places: readonly Place[] = toNode ? ["node"] : ["egress", "ingress"];
    return places.every((place) => {
      const outcome = this.#outcomeAt(place, packet, (peer) =>
        place === "ingress" ? this.#classOf(peer) : this.#classOnce(peer),
      );
      return outcome?.kind !== "deny";
    });
  }

  /** Whether a rule of pods here has a domain name among its peers. */
  wantsName(name: string): boolean {
    for (const { names } of this.#answers.atoms.of("names")) if (isAmong(names, name)) return true;
    return false;
  }

  /** Who has an address, as far as policies can ask: a pod as namespace/name, or nodes; undefined where nobody that is known. */
  ownerOf(ip: string): { pod: string } | { nodes: string[] } | undefined {
    const { addresses, pods } = this.#answers;
    const number = addresses.find(ip);
    if (number === undefined) return undefined;
    const row = addresses.podAt(number);
    if (row !== undefined) return { pod: pods.keyOf(row) };
    const nodes = addresses.nodesAt(number).map(({ name }) => name);
    return nodes.length > 0 ? { nodes } : undefined;
  }

  /** Policies that say something of an address here in one place, in the order in which they are asked. */
  policiesAt(place: Place, ip: string): readonly Policy[] {
    return this.#profiles.at(place, ip)?.policies ?? [];
  }

  /** Pods here, as namespace/name, by the policies that select them (see {@link policyKeyOf}). */
  selected(): Map<string, Set<string>> {
    const found = new Map<string, Set<string>>();
    for (const { policies, addresses } of this.#profiles.all()) {
      if (addresses.size === 0) continue;
      const pods = [...addresses].flatMap((ip) => this.#podKeyAt(ip) ?? []);
      for (const policy of policies) {
        const key = policyKeyOf(policy);
        const those = found.get(key);
        if (those) for (const pod of pods) those.add(pod);
        else found.set(key, new Set(pods));
      }
    }
    return found;
  }

  /** Whether a policy is known, by its {@link policyKeyOf}. */
  hasPolicy(key: string): boolean {
    return this.#subjects.get(key) !== undefined;
  }

  /** Profiles whose rules are too much: their pods, which nothing reaches and which reach nothing, and the policies that are to be told of. */
  overloaded(): Profile[] {
    return [...this.#profiles.overloaded()].filter(({ addresses }) => addresses.size > 0);
  }

  /** Everything that there is, as a list from the API server says it. */
  replace(all: {
    pods?: readonly Pod[];
    namespaces?: readonly Namespace[];
    nodes?: readonly ClusterNode[];
    policies?: readonly Policy[];
  }): Change {
    const missing = <T>(known: Iterable<string>, there: readonly T[], key: (one: T) => string): string[] => {
      const left = new Set(known);
      if (left.size > 0) for (const one of there) left.delete(key(one));
      return [...left];
    };
    const name = (one: { name: string }): string => one.name;
    const { pods, namespaces, nodes, policies } = all;
    return this.change({
      ...(pods && { pods: { set: pods, gone: missing(this.#answers.pods.keys(), pods, keyOf).map(namedBy) } }),
      ...(namespaces && {
        namespaces: { set: namespaces, gone: missing(this.#answers.namespaces.keys(), namespaces, name) },
      }),
      ...(nodes && { nodes: { set: nodes, gone: missing(this.#answers.nodes.keys(), nodes, name) } }),
      ...(policies && {
        policies: {
          set: policies,
          gone: missing(this.#subjects.keys(), policies, policyKeyOf).map(
            (key) => (this.#subjects.get(key) as { policy: Policy }).policy,
          ),
        },
      }),
    });
  }

  /** All connections that rules may not allow: some may have begun while the kernel did not have them. */
  enforced(): Revocation[] {
    const enforcing = [...this.#profiles.all()].filter(({ enforces }) => enforces);
    return enforcing.flatMap(({ addresses }) => Array.from(addresses, (ip) => ({ ip, peer: undefined })));
  }

  /** Makes the rules what they have to be after some changes, which are one change of the rules. */
  change({ pods, namespaces, nodes, policies, names, servers }: Changes): Change {
    if (servers) this.#servers.configure(servers);
    for (const { name, ip } of names?.gone ?? []) this.#answers.setNamed(name, ip, undefined);
    for (const { name, ip, until } of names?.set ?? []) this.#answers.setNamed(name, ip, until);
    for (const name of namespaces?.gone ?? []) this.#setNamespace(name, undefined);
    for (const namespace of namespaces?.set ?? []) this.#setNamespace(namespace.name, namespace);
    for (const name of nodes?.gone ?? []) this.#answers.setNode(name, undefined);
    for (const node of nodes?.set ?? []) this.#answers.setNode(node.name, node);
    for (const pod of pods?.gone ?? []) this.#setPod(keyOf(pod), undefined);
    for (const pod of pods?.set ?? []) this.#setPod(pod.key ?? keyOf(pod), pod);
    for (const policy of policies?.gone ?? []) this.#concern(this.#subjects.delete(policyKeyOf(policy))?.policy);
    for (const policy of policies?.set ?? []) this.#setPolicy(policy);

    const swaps = this.#reassign();
    const retired = this.#profiles.retire();
    const goneAtoms = this.#answers.atoms.dead();
    this.#answers.answer(goneAtoms);
    const dirty = this.#answers.takeDirty();
    if (this.#answers.takeBlocksChanged()) this.#cutBlocks(dirty);
    for (const number of dirty) this.#classify(number);
    const closed = this.overloaded();
    const created = this.#enter();
    const revocations = this.#revocations(swaps, created, closed);
    for (const profile of retired) profile.remove();
    for (const gone of this.#classes.sweep()) for (const profile of this.#profiles.all()) profile.enter(gone, false);
    this.#answers.atoms.forget(goneAtoms);
    for (const number of dirty) this.#answers.addresses.tidy(number);
    this.#seeAnswers();
    this.#settle();
    return { rules: this.ruleset.take(), revocations };
  }

  /** Answers of DNS servers pass by chains of their own where pods here have rules with domain names, and nowhere else. */
  #seeAnswers(): void {
    const asked = FAMILIES.some((family) => this.ruleset.maps.get(`asking${family}`)?.elements.size);
    for (const [name, chain] of NAME_CHAINS)
      if (asked !== this.ruleset.chains.has(name)) {
        if (asked) this.ruleset.addChain(name, chain);
        else this.ruleset.removeChain(name);
      }
  }

  #setNamespace(name: string, namespace: Namespace | undefined): void {
    const { namespaces, identities } = this.#answers;
    if (isDeepStrictEqual(namespaces.get(name), namespace)) return;
    const audit = namespaces.get(name)?.audit ?? false;
    this.#answers.setNamespace(name, namespace);
    if (audit !== (namespace?.audit ?? false)) for (const { given } of this.#subjects.in(name)) this.#setPolicy(given);
    for (const identity of identities.in(name)) this.#seeLocals(identity);
  }

  #setPod(key: string, pod: Pod | undefined): void {
    this.#servers.setPod(key, pod);
    const { had, row } = this.#answers.setPod(key, pod, pod?.node === this.#node);
    for (const ip of had) this.#reassigned.add(ip);
    if (row !== undefined && this.#answers.pods.isLocal(row)) this.#seeLocal(row);
    if (row !== undefined && pod?.node === this.#node && pod.ips.length === 0)
      this.#expected.add(this.#answers.pods.identityOf(row));
  }

  #setPolicy(policy: Policy): void {
    const before = this.#subjects.get(policyKeyOf(policy));
    const { namespace } = policy.subject;
    const audit = namespace !== undefined && (this.#answers.namespaces.get(namespace)?.audit ?? false);
    if (before && before.policy.audit === (policy.audit || audit) && isDeepStrictEqual(before.given, policy)) return;
    this.#concern(before?.policy);
    this.#concern(this.#subjects.set(policy, audit).policy);
  }

  /** Has those pods here looked at that a policy may select. */
  #concern(policy: Policy | undefined): void {
    if (!policy) return;
    const { namespace } = policy.subject;
    const names = namespace === undefined ? this.#answers.identities.namespaces() : [namespace];
    for (const name of names)
      for (const identity of this.#answers.identities.in(name))
        if (identity.locals > 0 && selects(policy.subject.pods, identity.labels)) this.#seeLocals(identity);
  }

  #seeLocals(identity: Identity): void {
    if (identity.locals === 0) return;
    const { pods } = this.#answers;
    for (const row of pods.of(identity)) if (pods.isLocal(row)) this.#seeLocal(row);
  }

  #seeLocal(row: number): void {
    for (const ip of this.#answers.ipsOf(row)) this.#reassigned.add(ip);
  }

  /** Row of the pod that has an address. */
  #rowAt(ip: string): number | undefined {
    const { addresses } = this.#answers;
    const number = addresses.find(ip);
    return number === undefined ? undefined : addresses.podAt(number);
  }

  #podKeyAt(ip: string): string | undefined {
    const row = this.#rowAt(ip);
    return row === undefined ? undefined : this.#answers.pods.keyOf(row);
  }

  /** Gives pods here their profiles. */
  #reassign(): ProfileSwap[] {
    const { pods } = this.#answers;
    const families = new Set(this.#podCidrs.map((cidr) => familyOf(cidr)));
    for (const identity of this.#expected) for (const family of families) this.#profiles.prepare(identity, family);
    return [...this.#reassigned].flatMap((ip) => {
      const row = this.#rowAt(ip);
      return this.#profiles.assign(ip, row !== undefined && pods.isLocal(row) ? pods.identityOf(row) : undefined);
    });
  }

  #podsInside(family: Family, intervals: readonly Interval[]): boolean {
    const own = this.#podCidrs.filter((cidr) => familyOf(cidr) === family).map(cidrOf);
    return (
      own.length > 0 &&
      own.every((cidr) => intervals.some(({ first, last }) => first <= cidr.first && cidr.last <= last))
    );
  }

  /** Cuts the blocks anew, and has looked at which addresses are in others than before. */
  #cutBlocks(dirty: Set<number>): void {
    const { addresses } = this.#answers;
    const before = new Map<string, readonly Atom[]>();
    // Others have the class of their block, whatever that is.
    for (const map of FAMILIES.flatMap((family) => [`peers${family}`, `named${family}`]))
      for (const ip of this.ruleset.maps.get(map)?.elements.keys() ?? []) before.set(ip, this.#blocks.at(ip));
    this.#blocks.rebuild(this.#answers.atoms.of("block"));
    for (const [ip, atoms] of before) if (!sameAtoms(atoms, this.#blocks.at(ip))) dirty.add(addresses.numberOf(ip));
    for (const family of FAMILIES) {
      const map = `blocks${family}`;
      const left = new Set(this.ruleset.maps.get(map)?.elements.keys());
      for (const { range, atoms } of this.#blocks.ranges(family)) {
        left.delete(range);
        this.#give(map, range, this.#classes.acquire(new Set(atoms), []));
      }
      for (const range of left) this.#give(map, range, NOBODY);
    }
  }

  /** Gives an address its class. Whom nothing is known of but its address is in a block, or nobody. */
  #classify(number: number): void {
    const { addresses, pods } = this.#answers;
    const ip = addresses.text(number);
    const row = addresses.podAt(number);
    const identity = row === undefined ? undefined : pods.identityOf(row);
    let own: ReadonlySet<Atom> = identity?.atoms ?? NO_ATOMS;
    for (const { atoms } of addresses.nodesAt(number)) if (atoms.size > 0) own = new Set([...own, ...atoms]);
    const blocks = own.size > 0 ? this.#blocks.at(ip) : NO_BLOCKS;
    const like = own === identity?.atoms ? this.#likeIdentity(identity) : undefined;
    const known = like?.get(blocks);
    // Most addresses have no name, and tens of thousands may be asked about.
    const named = this.#answers.named.has(ip) || this.#named.has(ip);
    if (known && !named) return this.#give(`peers${familyOf(ip)}`, ip, this.#classes.again(known));
    const asked = new Set<string>();
    for (const atom of own) if (atom.kind === "port") asked.add(atom.name);
    const ports = asked.size > 0 ? (identity?.ports.filter(({ name }) => asked.has(name)) ?? []) : [];
    if (named) this.#classifyNamed(ip, own, ports);
    if (known) return this.#give(`peers${familyOf(ip)}`, ip, this.#classes.again(known));
    const found = this.#classes.acquire(blocks.length > 0 ? new Set([...own, ...blocks]) : own, ports);
    like?.set(blocks, found);
    this.#give(`peers${familyOf(ip)}`, ip, found);
  }

  /** Gives an address that domain names have the class that it has besides. */
  #classifyNamed(ip: string, own: ReadonlySet<Atom>, ports: readonly NamedPort[]): void {
    const record = this.#answers.named.get(ip);
    const map = `named${familyOf(ip)}`;
    const before = this.ruleset.get(map, ip) as string | undefined;
    if (before === undefined && !record?.atoms.size) return;
    let value: string | undefined;
    if (record?.atoms.size) {
      const { id } = this.#classes.acquire(new Set([...own, ...this.#blocks.at(ip), ...record.atoms]), ports);
      value = `${id} ${Math.max(...record.names.values())}`;
    }
    if (before !== undefined) this.#classes.release(this.#classes.byId(classOfNamed(before)));
    this.ruleset.set(map, ip, value);
    if (value === undefined) this.#named.delete(ip);
    else this.#named.add(ip);
  }

  /** The classes that pods of an identity were found to have, by the blocks that they are in. */
  #likeIdentity(identity: Identity): Map<readonly Atom[], AddressClass> {
    let found = this.#found.get(identity);
    if (!found) this.#found.set(identity, (found = new Map()));
    return found;
  }

  /** Gives an element of a map a class that was acquired for it. */
  #give(map: string, key: string, after: AddressClass): void {
    const before = this.ruleset.get(map, key);
    if (before !== undefined) this.#classes.release(this.#classes.byId(before as number));
    this.ruleset.set(map, key, after.id === 0 ? undefined : after.id);
  }

  /** Puts all classes into the maps of new profiles, and new classes into those of the others. Returns the new ones. */
  #enter(): Set<Profile> {
    const created = new Set(this.#profiles.takeCreated());
    const classes = this.#classes.takeCreated();
    if (classes.length > 0)
      for (const profile of this.#profiles.all())
        if (!created.has(profile)) for (const one of classes) profile.enter(one, true);
    const all = created.size > 0 ? [...this.#classes.all()] : [];
    for (const profile of created) profile.install(all);
    for (const profile of this.#profiles.overloaded()) {
      if (profile.overflows) profile.collapse();
      this.#profiles.rename(profile);
    }
    return created;
  }

  /**
   * Pods with other profiles may have lost anything. The others have lost something to peers whose class is another one, which is asked once
   * for all peers with the same two classes; one that has only gained, as a pod that comes has, has lost nothing where rules only allow. @param created profiles that are new: whoever has one has another one. @param closed profiles that
   * were overloaded before
   */
  #revocations(swaps: readonly ProfileSwap[], created: ReadonlySet<Profile>, closed: readonly Profile[]): Revocation[] {
    const anybody = new Set<string>();
    for (const one of this.overloaded()) if (!closed.includes(one)) for (const ip of one.addresses) anybody.add(ip);
    for (const { ip, after } of swaps) if (after?.enforces) anybody.add(ip);
    // So much has changed that it was not written down.
    if (this.ruleset.overflown) for (const { ip } of this.enforced()) anybody.add(ip);
    const found: Revocation[] = [...anybody].map((ip) => ({ ip, peer: undefined }));
    const losing = new Map<AddressClass, Map<AddressClass, Profile[]>>();
    const profiles = [...this.#profiles.all()].filter(
      (one) => one.enforces && one.addresses.size > 0 && !created.has(one),
    );
    const losers = (was: AddressClass, is: AddressClass): Profile[] => {
      let by = losing.get(was);
      if (!by) losing.set(was, (by = new Map()));
      let list = by.get(is);
      if (!list) {
        const gains = hasGained(was, is);
        list = profiles.filter(
          (one) => !(gains && one.onlyAllows) && one.tells(was, is) && losesBy(one.decide(was), one.decide(is)),
        );
        by.set(is, list);
      }
      return list;
    };
    for (const family of profiles.length > 0 ? FAMILIES : [])
      for (const [peer, had] of this.ruleset.changed(`peers${family}`)) {
        const [was, is] = [this.#classAt(peer, had), this.#classAt(peer, this.ruleset.get(`peers${family}`, peer))];
        if (was === is) continue;
        for (const profile of losers(was, is))
          for (const ip of profile.addresses) if (familyOf(ip) === family && !anybody.has(ip)) found.push({ ip, peer });
      }
    return found;
  }

  #classOf(ip: string): AddressClass {
    return this.#classAt(ip, this.ruleset.get(`peers${familyOf(ip)}`, ip));
  }

  /** The class that an address would have if names had it that had it once. */
  #classOnce(ip: string): AddressClass {
    const found = this.#classOf(ip);
    const record = this.#answers.named.get(ip);
    if (!record) return found;
    const names = [...this.#answers.atoms.of("names")].filter((atom) => hasName(atom, record, true));
    return names.length === 0 ? found : { ...found, id: -1, atoms: new Set([...found.atoms, ...names]) };
  }

  /** The class that an address has by its own element, or by the block that it is in. */
  #classAt(ip: string, own: unknown): AddressClass {
    if (typeof own === "number") return this.#classes.byId(own);
    const atoms = this.#blocks.at(ip);
    return atoms.length === 0 ? NOBODY : { id: -1, key: "", refs: 0, atoms: new Set(atoms), ports: [] };
  }

  #settle(): void {
    this.#reassigned = new Set();
    this.#expected = new Set();
    this.#found = new Map();
  }
}

const NO_BLOCKS: readonly Atom[] = [];

/** Whether all that holds for one class holds for another one, and it has no port by a name that the other has not. */
const hasGained = (was: AddressClass, is: AddressClass): boolean =>
  (was.ports.length === 0 || was.ports === is.ports) && was.atoms.isSubsetOf(is.atoms);

/** The number of the class in an element of an address that domain names have. */
const classOfNamed = (value: string): number => Number(value.slice(0, value.indexOf(" ")));

const sameAtoms = (a: readonly Atom[], b: readonly Atom[]): boolean =>
  a === b || (a.length === b.length && a.every((atom) => b.includes(atom)));
