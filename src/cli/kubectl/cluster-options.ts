/** Options of those commands of skylanectl's own that go by kubectl: which cluster, and where Skylane is in it. */
import type { Input } from "../command.ts";

/** Where Skylane is installed unless it is told otherwise. */
export const SYSTEM_NAMESPACE = "skylane-system";

export const CLUSTER_OPTIONS = {
  namespace: { value: "NAME", short: "n", help: `where Skylane is installed (${SYSTEM_NAMESPACE})` },
  context: { value: "NAME", help: "context of the kubeconfig" },
  kubeconfig: { value: "FILE", help: "another kubeconfig" },
} as const;

/** What kubectl is to be told of the cluster, and Skylane's namespace. */
export function clusterOf(input: Input): { options: string[]; namespace: string } {
  const options = ["context", "kubeconfig"].flatMap((name) => {
    const value = input.text(name);
    return value === undefined ? [] : [`--${name}=${value}`];
  });
  return { options, namespace: input.text("namespace") ?? SYSTEM_NAMESPACE };
}
