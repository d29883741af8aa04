/** What operators expect of any command line: completion, a plugin for kubectl, a version that scripts read, refusals that say why. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CommandError,
  completionCommand,
  completionScript,
  nodeCommands,
  parsePluginCall,
  runPluginCall,
} from "../../../src/cli/index.ts";
import { requireRoot } from "../../../src/cli/root.ts";
import { labCommands } from "../../../lab/index.ts";

describe("commands that need root", () => {
  it("say so for anybody else", () => {
    assert.throws(() => requireRoot("nothing was diagnosed", 1000), /must run as root, not as user 1000: nothing was/);
    requireRoot("nothing was diagnosed", 0);
  });
});

describe("shell completion", () => {
  const commands = [...nodeCommands, completionCommand(() => []), ...labCommands];
  /** What bash itself makes of a line, whose last word is the one under the cursor. */
  const complete = (...words: string[]): string[] => {
    const quoted = ["skylanectl", ...words].map((word) => `'${word}'`).join(" ");
    const script = `${completionScript("bash", commands)}
COMP_WORDS=(${quoted}); COMP_CWORD=${words.length}; _skylanectl; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return execFileSync("bash", ["-c", script], { encoding: "utf8" }).split("\n").filter(Boolean);
  };

  it("knows commands, commands of a group, and options, also behind operands", () => {
    assert.deepEqual(complete("doc"), ["doctor"]);
    assert.ok(complete("").includes("status") && complete("").includes("lab"));
    assert.ok(complete("lab", "").includes("up"));
    assert.deepEqual(complete("doctor", "--pe"), ["--peer"]);
    assert.deepEqual(complete("lab", "up", "name", "--vn"), ["--vni"]);
    assert.deepEqual(complete("nothing", ""), []);
  });

  it("is there for the other shells, and for no unknown one", () => {
    assert.match(completionScript("zsh", commands), /^#compdef skylanectl\n/);
    assert.match(completionScript("fish", commands), /-n "__skylanectl_after 'skylanectl doctor'" -a '[^']*--peer/);
    assert.throws(() => completionScript("tcsh", commands), /one of bash, zsh, fish, not "tcsh"/);
  });
});

describe("kubectl skylane", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-kubectl-"));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it("takes its own options before the command, and passes the rest on", () => {
    const argv = ["--node", "n1", "--context=prod", "-n", "net", "doctor", "--peer", "n2", "-o", "json"];
    assert.deepEqual(parsePluginCall(argv), {
      node: "n1",
      namespace: "net",
      kubectl: ["--context=prod"],
      command: ["doctor", "--peer", "n2", "-o", "json"],
    });
    assert.equal(parsePluginCall([]), undefined);
    assert.equal(parsePluginCall(["--help"]), undefined);
    for (const [wrong, why] of [
      [["status"], /--node is missing/],
      [["--node"], /--node needs a value/],
      [["--node", "n1;reboot", "status"], /no node's name/],
      [["--peer", "n2", "doctor"], /unknown option "--peer"/],
    ] as const)
      assert.throws(() => parsePluginCall(wrong), why);
  });

  it("runs the command in the agent of that node and ends as it does", async () => {
    const kubectl = join(dir, "kubectl");
    const log = join(dir, "log");
    writeFileSync(
      kubectl,
      `#!/bin/sh\necho "$@" >> ${log}\ncase "$*" in *spec.nodeName=n1*) echo pod/skylane-x;; *exec*) exit 3;; esac\n`,
    );
    chmodSync(kubectl, 0o755);
    const call = { namespace: "skylane-system", kubectl: ["--context=prod"], command: ["doctor", "--peer", "n2"] };
    assert.equal(await runPluginCall({ ...call, node: "n1" }, kubectl), 3);
    assert.deepEqual(readFileSync(log, "utf8").trimEnd().split("\n"), [
      "--context=prod --namespace=skylane-system get pods --selector=app.kubernetes.io/name=skylane --field-selector=spec.nodeName=n1 --output=name",
      "--context=prod --namespace=skylane-system exec pod/skylane-x --container=agent -- skylanectl doctor --peer n2",
    ]);
    await assert.rejects(runPluginCall({ ...call, node: "n9" }, kubectl), (error: unknown) => {
      assert.ok(error instanceof CommandError);
      assert.match(error.message, /no pod of Skylane's runs on node n9/);
      return true;
    });
    await assert.rejects(runPluginCall({ ...call, node: "n1" }, join(dir, "none")), /cannot be run/);
  });
});
