/** Random objects of the kernel for property tests, every value within what the kernel's formats can carry. */
import fc from "fast-check";
import { bytesToIp, bytesToMac, type Family, networkAddress, parseCidr } from "../../../src/addr/index.ts";
import type { Address, FdbEntry, LinkSpec, Neighbour, Route, Rule } from "../../../src/netlink/types.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

export const family = fc.constantFrom<Family>(4, 6);
export const ip = (of: Family): fc.Arbitrary<string> => bytes(of === 4 ? 4 : 16).map((b) => bytesToIp(b));
export const mac = bytes(6).map((b) => bytesToMac(b));
export const ifindex = fc.integer({ min: 1, max: 0x7fff_ffff });
export const name = fc.stringMatching(/^[a-z][a-z0-9.-]{0,14}$/);
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u8 = fc.integer({ min: 0, max: 255 });

/** A canonical prefix of a family. */
export const cidr = (of: Family): fc.Arbitrary<string> =>
  fc.tuple(ip(of), fc.integer({ min: 1, max: of === 4 ? 32 : 128 })).map(([address, prefix]) => {
    const network = networkAddress(`${address}/${prefix}`);
    return parseCidr(`${network}/${prefix}`);
  });

const optional = { requiredKeys: [] as never[] };

export const address: fc.Arbitrary<Address> = family.chain((of) =>
  fc
    .record({ ifindex, ip: ip(of), prefix: fc.integer({ min: 0, max: of === 4 ? 32 : 128 }), scope: u8 })
    .chain((base) =>
      fc
        .record({ nodad: fc.constant(true), noPrefixRoute: fc.constant(true) }, optional)
        .map((flags) => ({ ...base, ...flags })),
    ),
);

export const route: fc.Arbitrary<Route> = family.chain((of) =>
  fc
    .record({
      dst: fc.oneof(fc.constant("default"), cidr(of)),
      table: fc.integer({ min: 1, max: 0xffff_ffff }),
      protocol: u8,
      scope: u8,
      type: u8,
    })
    .chain((base) =>
      fc
        .record(
          {
            gateway: fc.oneof(ip(4), ip(6)),
            ifindex,
            onlink: fc.constant(true),
            prefSrc: ip(of),
            metric: u32,
            mtu: u32,
          },
          optional,
        )
        .map((rest) => ({ family: of, ...base, ...rest })),
    ),
);

export const neighbour: fc.Arbitrary<Neighbour> = family.chain((of) =>
  fc.record(
    { ifindex, ip: ip(of), mac, state: u16 },
    { requiredKeys: ["ifindex", "ip", "state"], noNullPrototype: true },
  ),
);

export const fdb: fc.Arbitrary<FdbEntry> = family.chain((of) =>
  fc.record(
    { ifindex, mac, dst: ip(of), state: u16, port: u16, vni: u32 },
    { requiredKeys: ["ifindex", "mac", "dst", "state"], noNullPrototype: true },
  ),
);

export const rule: fc.Arbitrary<Rule> = family.chain((of) =>
  fc.record({ priority: u32, table: fc.integer({ min: 1, max: 0xffff_ffff }), protocol: u8 }).chain((base) =>
    fc
      .record(
        {
          src: cidr(of),
          dst: cidr(of),
          iifname: name,
          oifname: name,
          fwmark: u32,
          fwmask: u32,
          suppressPrefixLength: fc.integer({ min: 0, max: 128 }),
          invert: fc.constant(true),
          ipProto: u8,
          sport: fc.integer({ min: 1, max: 0xffff }),
          dport: fc.integer({ min: 1, max: 0xffff }),
        },
        optional,
      )
      .map((rest) => ({ family: of, ...base, ...rest })),
  ),
);

const common = { mac, mtu: u32, group: u32 };

export const linkSpec: fc.Arbitrary<LinkSpec> = fc.oneof(
  fc.record(
    {
      kind: fc.constant("vxlan" as const),
      name,
      vni: fc.integer({ min: 0, max: 0xff_ffff }),
      port: u16,
      local: family.chain(ip),
      learning: fc.boolean(),
      link: ifindex,
      ...common,
    },
    { requiredKeys: ["kind", "name", "vni", "port"] },
  ),
  fc.record(
    {
      kind: fc.constant("veth" as const),
      name,
      txQueueLen: u32,
      peer: fc.record({ name, netnsFd: ifindex, txQueueLen: u32, ...common }, { requiredKeys: ["name"] }),
      ...common,
    },
    { requiredKeys: ["kind", "name", "peer"] },
  ),
  fc.record({ kind: fc.constant("bridge" as const), name, ...common }, { requiredKeys: ["kind", "name"] }),
  fc.record(
    { kind: fc.constantFrom("ifb" as const, "wireguard" as const), name, mtu: u32, group: u32 },
    { requiredKeys: ["kind", "name"] },
  ),
);
