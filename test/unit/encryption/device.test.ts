import assert from "node:assert/strict";
import { type DesiredWireguard, isWrong, planWireguard } from "../../../src/dataplane/encryption/device.ts";
import { NodeKey } from "../../../src/dataplane/encryption/key.ts";
import { ENCRYPTION_LINK_GROUP } from "../../../src/netlink/index.ts";
import { linkOf } from "../../support/link.ts";

const desired: DesiredWireguard = { mtu: 1440, port: 51_871, key: NodeKey.make(), family: 4 };
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

  it("is found under another name, and then made anew; those of others stay", () => {
    const renamed = { ...there, name: "mine" };
    const theirs = linkOf(9, "wg0", { kind: "wireguard" });
    assert.deepEqual(
      planWireguard(desired, [renamed, theirs]).map(({ op }) => op),
      ["del", "add"],
    );
  });

  it("takes no device of another kind for its own", () =>
    assert.throws(() => planWireguard(desired, [linkOf(3, "skylane-wg", { kind: "dummy" })]), /rename or delete it/));
});
