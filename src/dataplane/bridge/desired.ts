/**
 * What the kernel should hold for a bridged network, kept up to date change by change. An endpoint needs a few entries:
 * where its MAC is on the bridge, behind which node it is where it is not here, and its addresses, with which the bridge
 * answers for it. Peers need one each, for frames that go to all.
 *
 * A MAC or address that is here and, by what other nodes still say, also there, is here: a pod that was just permitted to
 * have it works at once. Whoever decides takes the port's endpoint away when the other node has won.
 */
import type { EndpointAddresses } from "../../endpoints/index.ts";
import { differing } from "../vxlan/index.ts";
import { DeltaTracker } from "../../reconcile/index.ts";
import { type Peer } from "../../peers/index.ts";
import {
  type BridgedNetwork,
  type BridgeEntry,
  EVERYBODY,
  type LocalPort,
  portKey,
  type RemoteEndpoint,
} from "./types.ts";

/** The entries of a network. */
export class BridgeDesired {
  /** The entries, and what changed of them. */
  readonly tracker: DeltaTracker<BridgeEntry>;
  readonly ports = new Map<string, LocalPort>();
  #local: BridgedNetwork;
  readonly #peers = new Map<string, Peer>();
  readonly #remote = new Map<string, RemoteEndpoint>();
  /** MACs of remote endpoints by node. */
  readonly #macsOf = new Map<string, Set<string>>();
  readonly #remoteIps = new Map<string, string>();
  /** Ports of local endpoints by MAC, and MACs by address. */
  readonly #here = new Map<string, string>();
  readonly #hereIps = new Map<string, string>();

  constructor(local: BridgedNetwork, tracker = new DeltaTracker<BridgeEntry>()) {
    this.tracker = tracker;
    this.#local = local;
  }

  /** By key. */
  get entries(): ReadonlyMap<string, BridgeEntry> {
    return this.tracker.entries;
  }

  get local(): BridgedNetwork {
    return this.#local;
  }

  get peers(): ReadonlyMap<string, Peer> {
    return this.#peers;
  }

  /** Replaces what we are ourselves, which may concern every entry. */
  setLocal(local: BridgedNetwork): void {
    this.#local = local;
    for (const peer of this.#peers.values()) this.#everybody(peer.underlayIp);
    for (const mac of this.#remote.keys()) this.#decideMac(mac);
    for (const mac of this.#here.keys()) this.#decideMac(mac);
  }

  /** Takes nodes as they are now; undefined for those that take part no longer. */
  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    for (const [node, peer] of changes) {
      const former = this.#peers.get(node);
      if (peer) this.#peers.set(node, peer);
      else this.#peers.delete(node);
      for (const underlayIp of new Set([former?.underlayIp, peer?.underlayIp]))
        if (underlayIp !== undefined) this.#everybody(underlayIp);
      for (const mac of this.#macsOf.get(node) ?? []) this.#decide(this.#remote.get(mac));
    }
  }

  /** Takes remote endpoints as they are now, by MAC; undefined for those that are gone. They must not conflict with each other. */
  changeEndpoints(changes: Iterable<readonly [mac: string, endpoint: RemoteEndpoint | undefined]>): void {
    const all = [...changes];
    // First what goes: an address that one no longer has another one may have now.
    for (const [mac] of all) {
      const former = this.#remote.get(mac);
      if (!former) continue;
      this.#remote.delete(mac);
      this.#macsOf.get(former.node)?.delete(mac);
      for (const ip of former.ips) if (this.#remoteIps.get(ip) === mac) this.#remoteIps.delete(ip);
      this.#decide(former);
    }
    for (const [mac, endpoint] of all) {
      if (!endpoint) continue;
      this.#remote.set(mac, endpoint);
      const macs = this.#macsOf.get(endpoint.node) ?? new Set();
      this.#macsOf.set(endpoint.node, macs.add(mac));
      for (const ip of endpoint.ips) this.#remoteIps.set(ip, mac);
      this.#decide(endpoint);
    }
  }

  /** The remote endpoints by MAC. */
  get endpoints(): ReadonlyMap<string, RemoteEndpoint> {
    return this.#remote;
  }

  /** Takes ports as they are now, by name; undefined for those that are gone. */
  changePorts(changes: Iterable<readonly [ifname: string, port: LocalPort | undefined]>): void {
    const all = [...changes];
    for (const [ifname] of all) {
      for (const endpoint of this.ports.get(ifname)?.endpoints ?? []) {
        if (this.#here.get(endpoint.mac) === ifname) this.#here.delete(endpoint.mac);
        for (const ip of endpoint.ips) if (this.#hereIps.get(ip) === endpoint.mac) this.#hereIps.delete(ip);
        this.#decide(endpoint);
      }
    }
    for (const [ifname, port] of all) {
      if (port) this.ports.set(ifname, port);
      else this.ports.delete(ifname);
      this.tracker.put(portKey(ifname), port && { kind: "port", ifname });
      for (const endpoint of port?.endpoints ?? []) {
        this.#here.set(endpoint.mac, ifname);
        for (const ip of endpoint.ips) this.#hereIps.set(ip, endpoint.mac);
        this.#decide(endpoint);
      }
    }
  }

  /** Whether frames that go to all go to that underlay address. */
  #everybody(dst: string): void {
    const peer = [...this.#peers.values()].find(({ underlayIp }) => underlayIp === dst);
    const entry = peer && this.#local.broadcast === "Replicate" ? this.#to(EVERYBODY, peer) : undefined;
    this.tracker.put(`fdb ${EVERYBODY} ${dst}`, entry);
  }

  #to(mac: string, { underlayIp: dst, vni, port }: Peer): BridgeEntry {
    return {
      kind: "fdb",
      mac,
      dst,
      ...differing("vni", vni, this.#local.vni),
      ...differing("port", port, this.#local.port),
    };
  }

  #decide(endpoint: EndpointAddresses | undefined): void {
    if (!endpoint) return;
    this.#decideMac(endpoint.mac);
    for (const ip of endpoint.ips) this.#decideIp(ip);
  }

  #decideMac(mac: string): void {
    const here = this.#here.get(mac);
    const peer = here === undefined ? this.#peerOf(mac) : undefined;
    const ifname = here ?? (peer && this.#local.device);
    this.tracker.put(`fdb ${mac}`, peer && this.#to(mac, peer));
    this.tracker.put(`bridgeFdb ${mac}`, ifname === undefined ? undefined : { kind: "bridgeFdb", mac, ifname });
  }

  #decideIp(ip: string): void {
    const remote = this.#remoteIps.get(ip);
    const mac = this.#hereIps.get(ip) ?? (remote !== undefined && this.#peerOf(remote) ? remote : undefined);
    this.tracker.put(`neighbour ${ip}`, mac === undefined ? undefined : { kind: "neighbour", ip, mac });
  }

  /** The node behind which a remote MAC is, if it takes part. */
  #peerOf(mac: string): Peer | undefined {
    const node = this.#remote.get(mac)?.node;
    return node === undefined ? undefined : this.#peers.get(node);
  }
}
