/**
 * A kernel in miniature, with the rules that make the order of operations matter: no route from an address that is not
 * there, no second route in a place, IPv4 routes that go with their source address, one IPv6 entry an address.
 */
import assert from "node:assert/strict";
import { familyOf } from "../../../src/addr/index.ts";
import type { Address, FdbEntry, Neighbour, Operation, Route } from "../../../src/netlink/index.ts";
import type { ActualState, OnDevice } from "../../../src/dataplane/vxlan/index.ts";

const metricOf = ({ dst, metric }: Route): number => metric ?? (familyOf(dst) === 4 ? 0 : 1024);
const sameAddress = (a: Address, b: Address): boolean =>
  a.ip === b.ip && (familyOf(a.ip) === 6 || a.prefix === b.prefix);

const NOTHING: ActualState = { addresses: [], fdb: [], neighbours: [], routes: [] };

export class ModelKernel {
  addresses: Address[];
  fdb: FdbEntry[];
  neighbours: Neighbour[];
  routes: Route[];
  readonly device: OnDevice;

  constructor(device: OnDevice, { addresses, fdb, neighbours, routes }: ActualState = NOTHING) {
    this.device = device;
    this.addresses = [...addresses];
    this.fdb = [...fdb];
    this.neighbours = [...neighbours];
    this.routes = [...routes];
  }

  /** What a dump of our device shows. */
  dump(): ActualState {
    const { ifindex } = this.device;
    const { addresses, fdb, neighbours } = this;
    const routes = this.routes.filter((route) => route.ifindex === ifindex);
    return { addresses, fdb, neighbours, routes };
  }

  /** Carries an operation out. Returns the error code where the kernel would refuse. */
  apply(operation: Operation): string | undefined {
    switch (operation.kind) {
      case "address":
        return this.#address(operation.op, operation.address);
      case "route":
        return this.#route(operation.op, operation.route);
      case "neighbour": {
        const { ip } = operation.neighbour;
        const there = this.neighbours.some((entry) => entry.ip === ip);
        if (operation.op === "del" && !there) return "ENOENT";
        this.neighbours = this.neighbours.filter((entry) => entry.ip !== ip);
        if (operation.op !== "del") this.neighbours.push({ state: 0x80, ...operation.neighbour });
        return undefined;
      }
      case "fdb": {
        const { mac } = operation.fdb;
        const there = this.fdb.some((entry) => entry.mac === mac);
        if (operation.op === "del" && !there) return "ENOENT";
        this.fdb = this.fdb.filter((entry) => entry.mac !== mac);
        if (operation.op !== "del") this.fdb.push({ state: 0x80, ...operation.fdb });
        return undefined;
      }
      default:
        return assert.fail(`no plan of entries has an operation on a ${operation.kind}`);
    }
  }

  #address(op: "add" | "replace" | "del", address: Address): string | undefined {
    const there = this.addresses.find((entry) => sameAddress(entry, address));
    if (op === "del") {
      if (!there || there.prefix !== address.prefix) return "EADDRNOTAVAIL";
      this.addresses = this.addresses.filter((entry) => entry !== there);
      const left = this.addresses.some(({ ip }) => ip === address.ip);
      if (!left && familyOf(address.ip) === 4)
        this.routes = this.routes.filter(({ prefSrc }) => prefSrc !== address.ip);
      return undefined;
    }
    if (there && (op === "add" || there.prefix !== address.prefix)) return "EEXIST";
    this.addresses = [...this.addresses.filter((entry) => entry !== there), { ...address, permanent: true, scope: 0 }];
    return undefined;
  }

  #route(op: "add" | "replace" | "del", route: Route): string | undefined {
    const inPlace = this.routes.filter((entry) => entry.dst === route.dst && metricOf(entry) === metricOf(route));
    if (op === "del") {
      const found = inPlace.find(
        (entry) =>
          entry.ifindex === route.ifindex && entry.protocol === route.protocol && entry.gateway === route.gateway,
      );
      if (!found) return "ESRCH";
      this.routes = this.routes.filter((entry) => entry !== found);
      return undefined;
    }
    if (route.prefSrc !== undefined && !this.addresses.some(({ ip }) => ip === route.prefSrc)) return "EINVAL";
    if (inPlace.length > 0 && op === "add") return "EEXIST";
    this.routes = [
      ...this.routes.filter((entry) => entry !== inPlace[0]),
      { table: 254, metric: metricOf(route), type: 1, ...route },
    ];
    return undefined;
  }
}
