/**
 * A node for the plugin's tests: a namespace with published state and directories of its own, and the real
 * executable called in it as a runtime calls it.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type PublishedNetwork, writePublished } from "../../../src/config/index.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { OFFICIAL_PLUGINS, Runtime } from "../support/runtime.ts";

/** The built executables. */
export const BIN = join(process.env.SKYLANE_DIST ?? fileURLToPath(new URL("../../../dist", import.meta.url)), "bin");

/** Every version that the plugin speaks. */
export const VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

type Json = Record<string, unknown>;

/** Whether the official plugins are installed; a test that needs them says by its name that they are missing. */
export const missingPlugin = (...types: string[]): string | undefined =>
  types.find((type) => !existsSync(join(OFFICIAL_PLUGINS, type)));

export class TestNode {
  readonly ns: TestNamespace;
  readonly dir = mkdtempSync(join(tmpdir(), "skylane-node-"));
  readonly runtime: Runtime;
  readonly #sandboxes: TestNamespace[] = [];

  /** Call it in a `before` hook; it goes by {@link remove}. */
  constructor(podCidrs: string[] = ["10.244.1.0/24", "fd00:10:244:1::/64"]) {
    if (!existsSync(join(BIN, "skylane"))) throw new Error(`${BIN}/skylane is missing: npm run build`);
    this.ns = testNamespace("node");
    this.runtime = new Runtime(this.ns, [BIN, OFFICIAL_PLUGINS]);
    this.ns.exec("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
    this.publish({ podCidrs });
  }

  publish(change: Partial<PublishedNetwork> = {}): void {
    const state: PublishedNetwork = {
      version: 1,
      network: "default",
      node: "node-1",
      vni: 4096,
      device: "sky.4096",
      mtu: 1450,
      podCidrs: [],
      clusterCidrs: [],
      ...change,
    };
    writePublished(this.dir, state);
  }

  /** The overlay's device, which the agent makes. */
  addDevice(): void {
    const spec = ["type", "vxlan", "id", "4096", "dstport", "4789", "nolearning"];
    this.ns.exec("ip", "link", "add", "sky.4096", ...spec);
    this.ns.exec("ip", "link", "set", "sky.4096", "up");
  }

  /** A plugin configuration as a runtime sends it. */
  config(more: Json = {}): Json {
    return { cniVersion: "1.1.0", name: "skylane", ...this.plugin(), ...more };
  }

  /** The plugin's entry in a configuration list. */
  plugin(more: Json = {}): Json {
    return { type: "skylane", runDir: this.dir, dataDir: join(this.dir, "data"), ...more };
  }

  sandbox(label = "pod"): TestNamespace {
    const ns = testNamespace(label);
    this.#sandboxes.push(ns);
    return ns;
  }

  /** Names of the host's devices that belong to pods. */
  hostLinks(): string[] {
    return this.ns
      .json("ip", "-j", "link", "show")
      .map(({ ifname }) => ifname as string)
      .filter((name) => /^sky[0-9a-f]{11}$/.test(name));
  }

  /** Addresses that are reserved on disk. */
  reserved(): string[] {
    return this.#names("ipam/default/taken");
  }

  /** Everything that the node still has of pods: links, routes, addresses, records. */
  remains(): Json {
    return {
      links: this.hostLinks(),
      routes4: this.ns.json("ip", "-j", "-4", "route", "show", "proto", "83").map(({ dst }) => dst),
      routes6: this.ns.json("ip", "-j", "-6", "route", "show", "proto", "83").map(({ dst }) => dst),
      taken: this.reserved(),
      owners: this.#names("ipam/default/owners"),
      attachments: this.#names("attachments/default"),
    };
  }

  #names(path: string): string[] {
    const dir = join(this.dir, "data", path);
    return existsSync(dir) ? readdirSync(dir).sort() : [];
  }

  remove(): void {
    for (const ns of this.#sandboxes) ns.delete();
    this.ns.delete();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** What {@link TestNode.remains} says when nothing is left. */
export const NOTHING = { links: [], routes4: [], routes6: [], taken: [], owners: [], attachments: [] };

/** Devices in a sandbox other than loopback. */
export const devicesIn = (ns: TestNamespace): string[] =>
  (JSON.parse(execFileSync("ip", ["-n", ns.name, "-j", "link", "show"], { encoding: "utf8" })) as Json[])
    .map(({ ifname }) => ifname as string)
    .filter((name) => name !== "lo");
