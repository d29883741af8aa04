// The cluster tests on kind, where Docker is: builds the image, makes a cluster without a CNI plugin, gives its nodes
// the image, runs the same tests as on the cluster of namespaces, and deletes the cluster, also after a failure.
//
//   node scripts/test-kind.mjs [-- mocha options]
//
// KIND_NODE_IMAGE chooses the version of Kubernetes (kindest/node:v1.36.2, say); by default kind's own.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const CLUSTER = "skylane-test";
const IMAGE = "docker.io/library/skylane:test";
/**
 * What is needed, how it answers when it is there, and where it comes from.
 * @type {[string, string[], string][]}
 */
const NEEDS = [
  ["docker", ["info", "--format", "{{.ServerVersion}}"], "https://docs.docker.com/engine/install/"],
  ["kind", ["version"], "https://kind.sigs.k8s.io"],
  ["kubectl", ["version", "--client"], "https://kubernetes.io/docs/tasks/tools/"],
];

function missing() {
  return NEEDS.flatMap(([command, args, from]) => {
    const { status, error, stderr } = spawnSync(command, args, { encoding: "utf8" });
    if (error) return [`${command} is not installed (${from})`];
    return status === 0 ? [] : [`${command} does not work: ${stderr.trim().split("\n").at(-1)}`];
  });
}

function run(command, args, env = {}) {
  const { status, signal, error } = spawnSync(command, args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env },
  });
  if (status !== 0) throw new Error(`${command} ${args[0]} failed (${error?.message ?? signal ?? `status ${status}`})`);
}

function main() {
  const lacks = missing();
  if (lacks.length > 0) {
    for (const lack of lacks) console.error(`test:kind: ${lack}`);
    return 1;
  }
  const dir = mkdtempSync(join(tmpdir(), "skylane-kind-"));
  const kubeconfig = join(dir, "kubeconfig");
  const dashes = process.argv.indexOf("--");
  const passOn = dashes < 0 ? [] : process.argv.slice(dashes);
  try {
    run("docker", ["build", "--tag", IMAGE, "."]);
    const image = process.env.KIND_NODE_IMAGE ? ["--image", process.env.KIND_NODE_IMAGE] : [];
    // not --wait: nodes become Ready only with a CNI plugin, which the tests install
    run("kind", ["create", "cluster", "--config", "test/kind/cluster.yaml", "--kubeconfig", kubeconfig, ...image]);
    run("kind", ["load", "docker-image", IMAGE, "--name", CLUSTER]);
    run("node", ["scripts/test.mjs", "cluster", ...passOn], {
      SKYLANE_TEST_KUBECONFIG: kubeconfig,
      SKYLANE_TEST_IMAGE: IMAGE,
    });
    return 0;
  } catch (error) {
    console.error(`test:kind: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  } finally {
    spawnSync("kind", ["delete", "cluster", "--name", CLUSTER, "--kubeconfig", kubeconfig], { stdio: "inherit" });
    rmSync(dir, { recursive: true, force: true });
  }
}

process.exitCode = main();
