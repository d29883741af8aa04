import assert from "node:assert/strict";
import {
  formatNetworkStatus,
  parseNetworksAnnotation,
  primaryNetwork,
  readSelections,
  SelectionError,
} from "../../../src/crd/index.ts";
import { generator } from "./support.ts";

const STANDARD = "k8s.v1.cni.cncf.io/networks";
const known = (name: string): boolean => ["blue", "green"].includes(name);
const standard = (text: string) => readSelections({ [STANDARD]: text }, known);
const refuses = (text: string, pattern: RegExp): void =>
  assert.throws(
    () => parseNetworksAnnotation(text),
    (error: Error) => {
      assert.ok(error instanceof SelectionError, String(error));
      assert.match(error.message, /skylane\.dev\/networks|interface/);
      assert.match(error.message, pattern);
      return true;
    },
  );

describe("what a pod's annotations ask for", () => {
  it("is read from the short form, with names for interfaces that have none", () => {
    assert.deepEqual(parseNetworksAnnotation(" blue, green@eth5 ,blue@net1, red"), [
      { network: "blue", ifname: "net2" },
      { network: "green", ifname: "eth5" },
      { network: "blue", ifname: "net1" },
      { network: "red", ifname: "net3" },
    ]);
    assert.deepEqual(parseNetworksAnnotation("  "), []);
  });

  it("is read from JSON", () => {
    const text = `[{"name":"blue","interface":"net1","ips":["10.1.2.3","FD01::0:3"],"mac":"02-00-00-00-00-0A","claim":"db-0"},{"name":"green"}]`;
    assert.deepEqual(parseNetworksAnnotation(text), [
      { network: "blue", ips: ["10.1.2.3", "fd01::3"], mac: "02:00:00:00:00:0a", claim: "db-0", ifname: "net1" },
      { network: "green", ifname: "net2" },
    ]);
  });

  it("has the primary network besides, unless it is asked for", () => {
    const selections = (text: string) => readSelections({ "skylane.dev/networks": text }, known, "blue");
    assert.deepEqual(readSelections({}, known, "blue"), [{ network: "blue", ifname: "net1" }]);
    assert.deepEqual(selections("green@net2,red"), [
      { network: "green", ifname: "net2" },
      { network: "red", ifname: "net1" },
      { network: "blue", ifname: "net3" },
    ]);
    assert.deepEqual(selections("blue@data0"), [{ network: "blue", ifname: "data0" }]);
  });

  it("is refused with the reason where it cannot be meant", () => {
    refuses("blue,,green", /is not NETWORK/);
    refuses("team/blue", /is not NETWORK/);
    refuses("blue@", /is not NETWORK/);
    refuses("Blue", /the name of a pod network/);
    refuses("blue@eth0", /asked for twice/);
    refuses("blue@a,green@a", /asked for twice/);
    refuses("blue@sixteen-letters-", /longer than 15 bytes/);
    refuses("blue@eth%d", /percent/);
    refuses("blue@a:b", /colon/);
    refuses("[", /no JSON/);
    refuses("[1]", /not an object/);
    refuses('[{"network":"blue"}]', /"network" is not a key/);
    refuses('[{"name":"blue","ips":["10.1.2.3","10.1.2.4"]}]', /one address a family/);
    refuses('[{"name":"blue","ips":["224.0.0.1"]}]', /unicast/);
    refuses('[{"name":"blue","ips":"10.1.2.3"}]', /a list of addresses/);
    refuses('[{"name":"blue","mac":"ff:ff:ff:ff:ff:ff"}]', /a MAC address/);
    refuses('[{"name":"blue","claim":"a/b"}]', /IPClaim/);
    refuses(Array.from({ length: 33 }, () => "blue").join(), /at most 32/);
    refuses(`blue${" ".repeat(20_000)}`, /longer than/);
  });

  it("is read from the standard annotation where it names networks of ours, others left to others", () => {
    assert.deepEqual(standard("kube-system/macvlan, team/blue@eth1, Sriov.Net, green"), [
      { network: "blue", ifname: "eth1" },
      { network: "green", ifname: "net4" },
    ]);
    const text = `[{"name":"macvlan","namespace":"x","interface":"net9","bandwidth":{}},{"name":"blue","namespace":"y","ips":["10.1.2.3/24"],"cni-args":{}}]`;
    assert.deepEqual(standard(text), [{ network: "blue", ifname: "net2", ips: ["10.1.2.3"] }]);
    assert.throws(() => standard("macvlan@net7, blue@net7"), /net7 is asked for twice/);
    assert.throws(() => standard('[{"name":"blue","mac":5}]'), /k8s\.v1\.cni\.cncf\.io\/networks.*MAC/);
  });

  it("is both annotations together, with names that do not meet", () => {
    const selections = readSelections({ "skylane.dev/networks": "blue", [STANDARD]: "green" }, known);
    assert.deepEqual(selections, [
      { network: "blue", ifname: "net2" },
      { network: "green", ifname: "net1" },
    ]);
    assert.deepEqual(readSelections({}, known), []);
  });

  it("comes out as it went in, in both forms, for any list; and garbage only ever as an error of its own", () => {
    const random = generator(11);
    for (let round = 0; round < 500; round++) {
      const selections = Array.from({ length: random(6) }, (_, i) => ({
        network: `n${random(9)}`,
        ifname: `${"abc_-."[random(3)]}${i}`,
      }));
      const short = selections.map(({ network, ifname }) => `${network}@${ifname}`).join(" , ");
      const json = JSON.stringify(selections.map(({ network, ifname }) => ({ name: network, interface: ifname })));
      assert.deepEqual(parseNetworksAnnotation(short), selections);
      assert.deepEqual(parseNetworksAnnotation(json), selections);
      const letters = [...json.split(""), ...short.split(""), "\u0000", "é", "/", "@", "{", "}"];
      const garbage = Array.from({ length: random(40) }, () => letters[random(letters.length)]).join("");
      for (const text of [garbage, `[${garbage}]`, json.slice(0, random(json.length))]) {
        try {
          const names = parseNetworksAnnotation(text).map(({ ifname }) => ifname);
          assert.equal(new Set(names).size, names.length, text);
          readSelections({ [STANDARD]: text }, () => true);
        } catch (error) {
          assert.ok(error instanceof SelectionError, `${JSON.stringify(text)}: ${String(error)}`);
        }
      }
    }
  });
});

describe("a pod's first network", () => {
  const key = "skylane.dev/primary-network";
  it("is the pod's word before its namespace's", () => {
    assert.equal(primaryNetwork({}, {}), undefined);
    assert.equal(primaryNetwork({}, { [key]: "green" }), "green");
    assert.equal(primaryNetwork({ [key]: " default" }, { [key]: "green" }), "default");
    assert.throws(() => primaryNetwork({ [key]: "" }, { [key]: "green" }), SelectionError);
    assert.throws(() => primaryNetwork({ [key]: "a,b" }, {}), /primary-network.*"a,b"/);
  });
});

describe("the network-status annotation", () => {
  const mac = "02:00:00:00:00:01";
  it("has the first interface first and marks it", () => {
    const text = formatNetworkStatus([
      { network: "blue", ifname: "net1", ips: [], mac, mtu: 1450, primary: false },
      { network: "default", ifname: "eth0", ips: ["10.2.0.3", "fd02::3"], mac, gateway: ["10.2.0.1"], primary: true },
    ]);
    assert.deepEqual(JSON.parse(text), [
      {
        name: "default",
        interface: "eth0",
        ips: ["10.2.0.3", "fd02::3"],
        mac,
        default: true,
        dns: {},
        gateway: ["10.2.0.1"],
      },
      { name: "blue", interface: "net1", mac, mtu: 1450, dns: {} },
    ]);
  });
  it("cannot be without a first interface", () => {
    assert.throws(() => formatNetworkStatus([]), RangeError);
  });
});
