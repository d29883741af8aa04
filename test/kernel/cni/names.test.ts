/**
 * The names of pod networks' namespaces, which the launcher gives in the mount namespace of the host while the agent that
 * asks for them is in another one, as in its container.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually } from "../../support/eventually.ts";
import type { TestNamespace } from "../support/netns.ts";
import { type Outcome, Runtime } from "../support/runtime.ts";
import type { Said, Step } from "./names-child.ts";
import { BIN, NOTHING, TestNode } from "./node.ts";

const CHILD = fileURLToPath(new URL("names-child.ts", import.meta.url));
const MAGIC = "skylane3";
/** How the launcher of the release before began a request: it knew nothing of names. */
const OLD_MAGIC = "skylane1";

describe("names that the launcher gives to network namespaces", function () {
  this.timeout(60_000);
  let node: TestNode;
  let pod: TestNamespace;
  /** The host: a mount namespace whose /run/netns is its own. */
  let host: ChildProcess;
  let agent: ChildProcess | undefined;
  let complaints = "";
  const inodes = new Map<string, number>();

  const mountsOf = (process: ChildProcess | undefined): string => `--mount=/proc/${process?.pid}/ns/mnt`;
  const inHost = (...argv: string[]): string =>
    execFileSync("nsenter", [mountsOf(host), "--", ...argv], { encoding: "utf8" });
  /** The inode number at a name, as a process sees it; undefined when there is none. */
  const inodeAt = (name: string, seenBy: ChildProcess | undefined = host): number | undefined => {
    const path = `/run/netns/${name}`;
    const said = execFileSync(
      "nsenter",
      [mountsOf(seenBy), "--", "sh", "-c", 'test -e "$1" && stat -c %i "$1" || true', "sh", path],
      { encoding: "utf8" },
    );
    return said === "" ? undefined : Number(said);
  };
  const startAgent = async (): Promise<void> => {
    const inside = [
      mountsOf(host),
      `--net=${node.ns.path}`,
      "--",
      "unshare",
      "--mount",
      "--propagation",
      "private",
      "--",
    ];
    const program = [process.execPath, "--disable-warning=ExperimentalWarning", CHILD, node.dir];
    agent = spawn("nsenter", [...inside, ...program], { stdio: ["ignore", "inherit", "pipe", "ipc"] });
    agent.stderr?.setEncoding("utf8").on("data", (text: string) => (complaints += text));
    const listening = new Promise<void>((resolve, reject) => {
      agent?.once("exit", (status) => reject(new Error(`the agent ended with ${status}: ${complaints}`)));
      agent?.on("message", (said: Said) => {
        if (said === "listening") resolve();
        else inodes.set(said.label, said.inode);
      });
    });
    await listening;
    agent.removeAllListeners("exit");
  };
  const endAgent = async (signal: NodeJS.Signals): Promise<void> => {
    if (!agent) return;
    const ended = once(agent, "exit");
    agent.kill(signal);
    await ended;
    agent = undefined;
    rmSync(join(node.dir, "cni.sock"), { force: true });
  };

  /** One call of a plugin on the host. */
  const call = (verb: string, { runtime = node.runtime, through = [] as string[] } = {}): Promise<Outcome> =>
    runtime.exec(
      "skylane",
      verb,
      node.config(),
      { containerId: "c1", netns: join(node.dir, "netns", pod.name) },
      { through: ["nsenter", mountsOf(host), "--", ...through] },
    );
  /** An ADD for which the agent does so much before, and the DEL after it. */
  const add = async (...steps: Step[]): Promise<Outcome> => {
    writeFileSync(join(node.dir, "wanted.json"), JSON.stringify(steps));
    const outcome = await call("ADD");
    assert.equal((await call("DEL")).exitCode, 0);
    return outcome;
  };
  const works = async (...steps: Step[]): Promise<void> => {
    const { exitCode, stdout, stderr } = await add(...steps);
    assert.equal(exitCode, 0, stdout + stderr + complaints);
  };
  const refused = async (pattern: RegExp, ...steps: Step[]): Promise<void> => {
    const { exitCode, json } = await add(...steps);
    assert.equal(exitCode, 1);
    assert.match(String(json["msg"]), pattern);
    assert.deepEqual(node.remains(), NOTHING);
  };

  before(async () => {
    node = new TestNode();
    pod = node.sandbox();
    mkdirSync(join(node.dir, "netns"));
    // Sandboxes stay within reach; what is named goes with this mount namespace.
    const script = 'mount --rbind /run/netns "$1" && mount -t tmpfs names /run/netns && echo up && exec sleep infinity';
    const argv = ["--mount", "--propagation", "private", "--", "sh", "-c", script, "sh", join(node.dir, "netns")];
    host = spawn("unshare", argv, { stdio: ["ignore", "pipe", "inherit"] });
    assert.ok(host.stdout);
    await once(host.stdout, "data");
  });
  beforeEach(async () => {
    complaints = "";
    node.publish({ podCidrs: ["10.244.1.0/24"] });
    await startAgent();
  });
  afterEach(async () => {
    await endAgent("SIGTERM");
    inHost("sh", "-c", "for n in /run/netns/*; do test -e $n || continue; umount $n 2>/dev/null; rm $n; done");
    assert.deepEqual(node.remains(), NOTHING);
  });
  after(async () => {
    const ended = once(host, "exit");
    host.kill("SIGKILL");
    await ended;
    node.remove();
  });

  it("are the host's: the agent does not see them, and they outlive it", async () => {
    await works({ hold: "sky-blue", label: "blue" });
    assert.equal(inodeAt("sky-blue"), inodes.get("blue"));
    assert.notEqual(inodeAt("sky-blue", agent), inodes.get("blue"), "the agent sees the host's mounts");
    const inBlue = (...argv: string[]): string => inHost("nsenter", "--net=/run/netns/sky-blue", "--", ...argv);
    inBlue("ip", "link", "add", "marker", "type", "veth", "peer", "name", "other");
    await endAgent("SIGKILL");
    assert.match(inBlue("ip", "link"), /marker/);
    // The next one finds it by its name.
    await startAgent();
    await works({ find: "sky-blue", label: "found" });
    assert.equal(inodes.get("found"), inodes.get("blue"));
  });

  it("are made in a directory that does not exist yet, as on a host where nobody has named any", async () => {
    inHost("umount", "/run/netns");
    // Only in this mount namespace; others see their own.
    inHost("mount", "-t", "tmpfs", "run", "/run");
    try {
      await works({ hold: "sky-blue", label: "new" });
      assert.equal(inodeAt("sky-blue"), inodes.get("new"));
    } finally {
      inHost("sh", "-c", "umount /run/netns/sky-blue; umount /run; mount -t tmpfs names /run/netns");
    }
  });

  it("go when they are taken away, and that they are gone already is fine", async () => {
    await works({ hold: "sky-blue", label: "blue" }, { hold: "sky-green", label: "green" });
    await works({ release: "sky-blue" });
    assert.deepEqual([inodeAt("sky-blue"), inodeAt("sky-green")], [undefined, inodes.get("green")]);
    await works({ release: "sky-blue" }, { release: "sky-never" });
    assert.equal(inodeAt("sky-green"), inodes.get("green"));
  });

  it("may be there already: for the same namespace, or as a file that a mount has left", async () => {
    inHost("touch", "/run/netns/sky-left");
    await works(
      { hold: "sky-blue", label: "blue" },
      { hold: "sky-blue", label: "blue" },
      { hold: "sky-left", label: "left" },
    );
    assert.deepEqual([inodeAt("sky-blue"), inodeAt("sky-left")], [inodes.get("blue"), inodes.get("left")]);
    // Once each: one removal is enough.
    await works({ release: "sky-blue" });
    assert.equal(inodeAt("sky-blue"), undefined);
  });

  it("are never taken from another namespace that has them", async () => {
    await works({ hold: "sky-blue", label: "first" });
    await refused(/EEXIST name sky-blue: giving it to a network namespace/, { hold: "sky-blue", label: "second" });
    assert.notEqual(inodes.get("first"), inodes.get("second"));
    assert.equal(inodeAt("sky-blue"), inodes.get("first"));
  });

  it("are those of pod networks and no others, whatever an agent asks for", async () => {
    inHost("sh", "-c", "touch /run/netns/cni-1 /run/netns/sky- /run/victim-of-a-test");
    for (const name of ["cni-1", "sky-", "sky-../../victim-of-a-test", "../victim-of-a-test", "sky-Blue", "sky-a/b"]) {
      await refused(/EINVAL/, { hold: name, label: "any" });
      await refused(/EINVAL/, { release: name });
    }
    inHost("rm", "/run/netns/cni-1", "/run/netns/sky-", "/run/victim-of-a-test");
  });

  it("need the right to mount, and the runtime is told what failed", async () => {
    writeFileSync(join(node.dir, "wanted.json"), JSON.stringify([{ hold: "sky-blue", label: "blue" }]));
    const outcome = await call("ADD", { through: ["setpriv", "--bounding-set=-sys_admin", "--"] });
    assert.match(String(outcome.json["msg"]), /EPERM name sky-blue: giving it to a network namespace/);
  });

  describe("between releases", () => {
    /** The launcher of the release before, beside today's plugin. */
    let old: Runtime;
    before(() => {
      const bin = join(node.dir, "old", "bin");
      mkdirSync(bin, { recursive: true });
      copyFileSync(join(BIN, "skylane"), join(bin, "skylane"));
      const binary = readFileSync(join(bin, "skylane"));
      const at = binary.indexOf(MAGIC);
      assert.ok(at > 0 && binary.indexOf(MAGIC, at + 1) < 0, "the launcher's magic is not where it can be changed");
      binary.write(OLD_MAGIC, at, "latin1");
      writeFileSync(join(bin, "skylane"), binary);
      chmodSync(join(bin, "skylane"), 0o755);
      symlinkSync(join(BIN, "..", "lib"), join(node.dir, "old", "lib"));
      old = new Runtime(node.ns, [bin]);
    });
    /** Without any pod network beside the default one the plugin serves alone; otherwise it cannot know, and says so. */
    const served = async (runtime: Runtime): Promise<void> => {
      const added = await call("ADD", { runtime });
      assert.equal(added.exitCode, 0, added.stdout + added.stderr);
      assert.equal(node.hostLinks().length, 1);
      assert.equal((await call("DEL", { runtime })).exitCode, 0);
      node.publish({ podCidrs: ["10.244.1.0/24"], needsAgent: true });
      const { exitCode, json } = await call("ADD", { runtime });
      assert.deepEqual([exitCode, json["code"]], [1, 11]);
      assert.match(`${String(json["msg"])} ${String(json["details"])}`, /agent/);
      assert.deepEqual(node.remains(), NOTHING);
    };

    it("an older launcher is refused by the agent, and has its plugin serve", async () => {
      writeFileSync(join(node.dir, "wanted.json"), JSON.stringify([{ hold: "sky-blue", label: "blue" }]));
      await served(old);
      await eventually(() => complaints.includes("refused a CNI request that is none"));
      assert.equal(inodeAt("sky-blue"), undefined);
    });

    it("a launcher is refused by an older agent, and has its plugin serve", async () => {
      await endAgent("SIGTERM");
      let refusals = 0;
      const server = createServer((socket) => {
        socket.on("error", () => undefined);
        socket.once("data", (chunk) => {
          // A byte that brings the sandbox comes before the head.
          if (!chunk.includes(OLD_MAGIC)) refusals++;
          socket.destroy();
        });
      }).listen(join(node.dir, "cni.sock"));
      await once(server, "listening");
      try {
        await served(node.runtime);
        assert.equal(refusals, 3);
      } finally {
        const closed = once(server, "close");
        server.close();
        await closed;
        rmSync(join(node.dir, "cni.sock"), { force: true });
      }
    });
  });
});
