import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type DesiredWireguard,
  ensureDevices,
  isWrong,
  planWireguard,
} from "../../../src/dataplane/encryption/device.ts";
import { NodeKey } from "../../../src/dataplane/encryption/key.ts";
import { DEVICES, type Lane } from "../../../src/dataplane/encryption/lanes.ts";
import { ENCRYPTION_LINK_GROUP, type Link, NetlinkError, type Operation } from "../../../src/netlink/index.ts";
import { linkOf } from "../../support/link.ts";

const desired: DesiredWireguard = { lane: 0, mtu: 1440, port: 51_871, key: NodeKey.make(), family: 4 };
const there = linkOf(7, "skylane-wg", { kind: "wireguard", mtu: 1440, group: ENCRYPTION_LINK_GROUP });

describe("the WireGuard device", () => {
  it("is made where there is none, and left alone where it is right", () => {
    const [made] = planWireguard(desired, [linkOf(1, "eth0")]);
    assert.ok(made?.op === "add" && made.kind === "link" && made.link.kind === "wireguard");
    assert.deepEqual([made.link.name, made.link.mtu], ["skylane-wg", 1440]);
    assert.deepEqual(planWireguard(desired, [there]), []);
    assert.equal(isWrong(there, desired), false);
  });

  it("has what can be set in place set there", () => {
    const link = { index: 7, mtu: 1440, group: ENCRYPTION_LINK_GROUP };
    assert.deepEqual(planWireguard(desired, [{ ...there, mtu: 1420, group: 0 }]), [{ op: "set", kind: "link", link }]);
    for (const wrong of [{ mtu: 1 }, { group: 0 }, { up: false }, { kind: "dummy" }])
      assert.equal(isWrong({ ...there, ...wrong }, desired), true);
  });

  it("takes no device of another kind for its own", () =>
    assert.throws(() => planWireguard(desired, [linkOf(3, "skylane-wg", { kind: "dummy" })]), /rename or delete it/));
});

describe("the WireGuard devices", () => {
  /** A kernel with links and what WireGuard says of them. */
  function kernel(links: Link[], ports: Record<string, number> = {}, taken: string[] = []) {
    const did: string[] = [];
    const rtnl = {
      links: () => links,
      link: (name: string | number) => links.find((link) => link.name === name),
      execute(operation: Operation): void {
        if (operation.kind !== "link") return;
        const { op, link } = operation;
        const name = "name" in link && link.name !== undefined ? link.name : "";
        if (op === "del") {
          did.push(`del ${name}`);
          links.splice(
            links.findIndex((one) => one.name === name),
            1,
          );
        } else if (op === "add") {
          did.push(`add ${name}`);
          links.push(linkOf(links.length + 50, name, { kind: "wireguard", mtu: 1440, group: ENCRYPTION_LINK_GROUP }));
          links[links.length - 1] = { ...(links.at(-1) as Link), up: !taken.includes(name) };
        } else if (links.some((one) => one.index === link.index && taken.includes(one.name)))
          throw new NetlinkError({ errno: 98, doing: "setting it up" });
      },
    };
    const wireguard = {
      known: true,
      device: (name: string) =>
        links.some((link) => link.name === name)
          ? { publicKey: key.publicKey, listenPort: ports[name] ?? 51_871, fwmark: 0, peers: [] }
          : undefined,
      configure: (name: string, { listenPort }: { listenPort: number }) => void did.push(`${name} ${listenPort}`),
    };
    return { did, rtnl, wireguard };
  }
  const { key } = desired;
  const lane = (number: Lane): DesiredWireguard => ({ ...desired, lane: number, port: 51_871 + number });
  let parameters: string;
  before(() => {
    parameters = mkdtempSync(join(tmpdir(), "skylane-device-"));
    for (const device of Object.values(DEVICES))
      for (const [family, name] of [
        ["ipv4", "rp_filter"],
        ["ipv6", "accept_ra"],
      ] as const) {
        const dir = join(parameters, "net", family, "conf", device);
        mkdirSync(dir, { recursive: true });
        writeFileSync(join(dir, name), "1");
      }
    process.env["SKYLANE_PROC_SYS"] = parameters;
  });
  after(() => {
    delete process.env["SKYLANE_PROC_SYS"];
    rmSync(parameters, { recursive: true });
  });

  it("are made with a port each, and those that nobody uses are named, not removed", () => {
    const { did, rtnl, wireguard } = kernel([{ ...there, name: "skylane-wg11" }], { "skylane-wg11": 51_874 });
    const { devices, surplus } = ensureDevices(rtnl, wireguard, [lane(0), lane(2)]);
    assert.deepEqual(did, ["add skylane-wg", "add skylane-wg10", "skylane-wg10 51873"]);
    assert.deepEqual([...devices.keys()], [0, 2]);
    assert.deepEqual(
      surplus.map(({ name }) => name),
      ["skylane-wg11"],
    );
    assert.equal(readFileSync(join(parameters, "net/ipv4/conf/skylane-wg10/rp_filter"), "utf8"), "2");
  });

  it("are told from those that were renamed, and from one in the place of another; those of others stay", () => {
    const theirs = linkOf(9, "wg0", { kind: "wireguard" });
    const links = [theirs, { ...there, name: "mine" }, { ...there, index: 8, name: "skylane-wg01" }];
    const { did, rtnl, wireguard } = kernel(links, { "skylane-wg01": 51_871 });
    ensureDevices(rtnl, wireguard, [lane(0)]);
    assert.deepEqual(did, ["del mine", "del skylane-wg01", "add skylane-wg"]);
    assert.ok(links.includes(theirs));
  });

  it("do not keep each other from being made, and without any it is an error", () => {
    const { rtnl, wireguard } = kernel([], {}, ["skylane-wg01"]);
    const { devices, errors } = ensureDevices(rtnl, wireguard, [lane(0), lane(1)]);
    assert.deepEqual([[...devices.keys()], [...errors.keys()]], [[0], [1]]);
    assert.match(errors.get(1) ?? "", /in use/);
    assert.throws(() => ensureDevices(rtnl, wireguard, [lane(1)]), /in use/);
  });
});
