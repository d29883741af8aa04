/** An operator's machine: `kubectl skylane` as it is run there, with a kubectl that knows the cluster of the test. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Machine } from "./machine.ts";

const PLUGIN = fileURLToPath(new URL("../../../cmd/kubectl-skylane/main.ts", import.meta.url));
const run = promisify(execFile);

export class Operator implements Disposable {
  /** The folder in which commands run. */
  readonly dir = mkdtempSync(join(tmpdir(), "sky-operator-"));

  constructor({ kubectlCommand }: Machine) {
    const quoted = kubectlCommand.map((word) => `'${word}'`).join(" ");
    // It is called kubectl itself, and is not to find itself.
    const script = `#!/bin/sh\nPATH='${process.env["PATH"]}'\nexec ${quoted} "$@"\n`;
    writeFileSync(join(this.dir, "kubectl"), script, { mode: 0o755 });
  }

  /** Runs the plugin and returns what it prints. @throws with that as `stdout` when it fails */
  async plugin(...args: string[]): Promise<string> {
    const env = { ...process.env, PATH: `${this.dir}:${process.env["PATH"]}` };
    const { stdout } = await run(process.execPath, ["--disable-warning=ExperimentalWarning", PLUGIN, ...args], {
      cwd: this.dir,
      env,
      maxBuffer: 1 << 26,
    });
    return stdout;
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
