/**
 * Who is who: pods, namespaces and nodes, and which of the questions that policies ask (atoms) they answer with yes. It remembers of
 * which addresses an answer has changed until it is asked for them.
 */
import { selects } from "../semantics/selector.ts";
import type { ClusterNode, Namespace, Pod } from "../semantics/types.ts";
import { isSelectable } from "../semantics/types.ts";
import { isAmong } from "../semantics/domain-names.ts";
import { Addresses, type NamedRecord, type NodeRecord } from "./cluster/addresses.ts";
import {
  type Atom,
  Atoms,
  type AtomSpec,
  holdsFor,
  type NamesAtom,
  type NodesAtom,
  type PodsAtom,
  type PortNameAtom,
} from "./atoms.ts";
import { Identities, type Identity, identityKey, NO_ATOMS } from "./cluster/identities.ts";
import { PodRows } from "./cluster/pod-rows.ts";

export class Answers {
  readonly pods = new PodRows();
  readonly nodes = new Map<string, NodeRecord>();
  readonly namespaces = new Map<string, Namespace>();
  /** Addresses that domain names have or had. */
  readonly named = new Map<string, NamedRecord>();
  readonly identities = new Identities();
  readonly addresses = new Addresses((row) => this.pods.isLocal(row));
  readonly atoms = new Atoms();
  #dirty = new Set<number>();
  /** Answers that are other ones than those in `atoms`. */
  #pending = new Map<Identity | NodeRecord | NamedRecord, Map<Atom, boolean>>();
  #newAtoms: Atom[] = [];
  #blocksChanged = false;

  setNamespace(name: string, namespace: Namespace | undefined): void {
    if (namespace) this.namespaces.set(name, namespace);
    else this.namespaces.delete(name);
    for (const atom of this.atoms.of("pods")) this.#seeNamespace(atom, name);
  }

  setNode(name: string, node: ClusterNode | undefined): void {
    const before = this.nodes.get(name);
    if (before) {
      for (const number of this.#see(before.ips)) this.addresses.remove(number, before);
      this.nodes.delete(name);
    }
    if (!node) return;
    const record: NodeRecord = { kind: "node", ...node, atoms: NO_ATOMS };
    for (const atom of this.atoms.of("nodes")) this.#holdNode(atom, record);
    this.nodes.set(name, record);
    for (const number of this.#see(record.ips)) this.addresses.add(number, record);
  }

  /** A name has an address until then (milliseconds since the epoch), has it no more (0), or is forgotten (undefined). */
  setNamed(name: string, ip: string, until: number | undefined): void {
    let record = this.named.get(ip);
    if (!record) {
      if (until === undefined) return;
      this.named.set(ip, (record = { kind: "named", ips: [ip], names: new Map(), atoms: NO_ATOMS }));
    }
    if (until === undefined) record.names.delete(name);
    else record.names.set(name, until);
    if (record.names.size === 0) this.named.delete(ip);
    for (const atom of this.atoms.of("names")) this.#answered(record, atom, hasName(atom, record));
    this.#see(record.ips);
  }

  /** What a pod is by now. @returns the addresses that it had here, where it was here, and its row; nothing where nothing changes, or policies cannot select it */
  setPod(key: string, pod: Pod | undefined, local: boolean): { had: readonly string[]; row: number | undefined } {
    const before = this.pods.find(key);
    const selectable = pod && isSelectable(pod) ? pod : undefined;
    if (before !== undefined && selectable && this.#isSame(before, selectable, local)) return UNCHANGED;
    const had = before !== undefined && this.pods.isLocal(before) ? this.ipsOf(before) : NO_IPS;
    // Before the old one may go: most changes are of addresses, and who it is stays.
    const found = selectable && this.identities.of(selectable);
    if (before !== undefined) {
      for (const number of this.pods.addressesOf(before)) {
        this.addresses.remove(number, before);
        this.#dirty.add(number);
      }
      const identity = this.pods.identityOf(before);
      this.pods.remove(before);
      if (identity !== found?.identity) this.identities.tidy(identity);
    }
    if (!selectable || !found) return { had, row: undefined };
    const { identity, isNew } = found;
    const numbers = this.#see(selectable.ips);
    const row = this.pods.add(key, identity, numbers, local);
    for (const number of numbers) this.addresses.add(number, row);
    if (isNew) {
      for (const atom of this.atoms.of("pods")) this.#hold(atom, identity);
      for (const atom of this.atoms.of("port")) this.#hold(atom, identity);
    }
    return { had, row };
  }

  /** Addresses of a pod. */
  ipsOf(row: number): string[] {
    return this.pods.addressesOf(row).map((number) => this.addresses.text(number));
  }

  /** Whether nothing has changed that policies could know: lists say most of what they say again and again. */
  #isSame(row: number, pod: Pod, local: boolean): boolean {
    const numbers = this.pods.addressesOf(row);
    return (
      this.pods.isLocal(row) === local &&
      this.pods.identityOf(row).key === identityKey(pod) &&
      numbers.length === pod.ips.length &&
      numbers.every((number, i) => this.addresses.text(number) === pod.ips[i])
    );
  }

  /** The atom that a spec stands for, asked once more. Those that are new are answered by {@link answer}. */
  ask(spec: AtomSpec): Atom {
    const { atom, isNew } = this.atoms.acquire(spec);
    if (isNew) this.#newAtoms.push(atom);
    return atom;
  }

  /** Has everybody answer what is asked for the first time, and forget what nobody asks any more. */
  answer(gone: readonly Atom[]): void {
    for (const atom of this.#newAtoms) if (atom.refs > 0) this.#answerAll(atom, true);
    for (const atom of gone) this.#answerAll(atom, false);
    this.#newAtoms = [];
    this.#settle();
  }

  /** Whether the blocks in use are other ones than when this was last asked. */
  takeBlocksChanged(): boolean {
    const changed = this.#blocksChanged;
    this.#blocksChanged = false;
    return changed;
  }

  /** Numbers of addresses of which something has changed since this was last asked; each is to be tidied up when it was seen to. */
  takeDirty(): Set<number> {
    const dirty = this.#dirty;
    this.#dirty = new Set();
    return dirty;
  }

  /** Something has changed of these addresses. @returns their numbers */
  #see(ips: readonly string[]): number[] {
    const numbers = ips.map((ip) => this.addresses.numberOf(ip));
    for (const number of numbers) this.#dirty.add(number);
    return numbers;
  }

  #answerAll(atom: Atom, asked: boolean): void {
    switch (atom.kind) {
      case "block":
        this.#blocksChanged = true;
        break;
      case "names":
        for (const record of this.named.values()) this.#answered(record, atom, asked && hasName(atom, record));
        break;
      case "nodes":
        for (const node of this.nodes.values()) this.#holdNode(atom, node, asked && selects(atom.nodes, node.labels));
        break;
      case "port":
        for (const name of this.identities.namespaces())
          for (const one of this.identities.in(name)) this.#hold(atom, one, asked && holdsFor(atom, one));
        break;
      default:
        if (asked) this.#findPods(atom);
        else
          for (const name of atom.namespaces) for (const one of this.identities.in(name)) this.#hold(atom, one, false);
    }
  }

  #findPods(atom: PodsAtom): void {
    const { namespace, namespaces } = atom.selection;
    if (namespaces) for (const name of this.namespaces.keys()) this.#seeNamespace(atom, name);
    else if (namespace !== undefined) {
      atom.namespaces.add(namespace);
      for (const one of this.identities.in(namespace)) this.#hold(atom, one);
    }
  }

  /** Has an atom know a namespace or not, and who is in it. */
  #seeNamespace(atom: PodsAtom, name: string): void {
    const { namespaces } = atom.selection;
    if (namespaces === undefined) return;
    const namespace = this.namespaces.get(name);
    const selected = namespace !== undefined && selects(namespaces, namespace.labels);
    if (selected === atom.namespaces.has(name)) return;
    if (selected) atom.namespaces.add(name);
    else atom.namespaces.delete(name);
    for (const one of this.identities.in(name)) this.#hold(atom, one);
  }

  #hold(atom: PodsAtom | PortNameAtom, identity: Identity, holds = holdsFor(atom, identity)): void {
    this.#answered(identity, atom, holds);
  }

  #holdNode(atom: NodesAtom, node: NodeRecord, holds = selects(atom.nodes, node.labels)): void {
    this.#answered(node, atom, holds);
  }

  #answered(who: Identity | NodeRecord | NamedRecord, atom: Atom, holds: boolean): void {
    let pending = this.#pending.get(who);
    if (holds === who.atoms.has(atom)) {
      pending?.delete(atom);
      return;
    }
    if (!pending) this.#pending.set(who, (pending = new Map()));
    pending.set(atom, holds);
  }

  /** Puts answers down. Who gives the same ones shares a set: tens of thousands of identities have some hundreds. */
  #settle(): void {
    const sets = new Map<string, ReadonlySet<Atom>>();
    for (const [who, pending] of this.#pending) {
      if (pending.size === 0) continue;
      const atoms = new Set(who.atoms);
      for (const [atom, holds] of pending) {
        if (holds) atoms.add(atom);
        else atoms.delete(atom);
      }
      const key = [...atoms]
        .map(({ id }) => id)
        .sort((a, b) => a - b)
        .join();
      const same = sets.get(key) ?? (atoms.size === 0 ? NO_ATOMS : atoms);
      sets.set(key, same);
      who.atoms = same;
      if ("ips" in who) this.#see(who.ips);
      else
        for (const row of this.pods.of(who)) for (const number of this.pods.addressesOf(row)) this.#dirty.add(number);
    }
    this.#pending = new Map();
  }
}

/** Whether an address has one of the names that are asked for. @param past also where it had it once */
export function hasName({ names: asked }: NamesAtom, { names }: NamedRecord, past = false): boolean {
  for (const [name, until] of names) if ((past || until > 0) && isAmong(asked, name)) return true;
  return false;
}

const NO_IPS: readonly string[] = [];
const UNCHANGED = { had: NO_IPS, row: undefined };
