/** A kubeconfig for one user of the server, as kubectl and every client library read it. */

/** What goes into a kubeconfig. */
export interface KubeconfigOptions {
  url: string;
  /** Absent for a server without TLS. */
  caPem: string | undefined;
  user: string;
  token: string;
}

/** The kubeconfig as YAML. */
export function kubeconfigYaml({ url, caPem, user, token }: KubeconfigOptions): string {
  // A JSON string is a YAML string, whatever is in it.
  const text = (value: string): string => JSON.stringify(value);
  const authority =
    caPem === undefined ? [] : [`      certificate-authority-data: ${Buffer.from(caPem).toString("base64")}`];
  return [
    "apiVersion: v1",
    "kind: Config",
    "clusters:",
    "  - name: skylane-lab",
    "    cluster:",
    `      server: ${text(url)}`,
    ...authority,
    "users:",
    `  - name: ${text(user)}`,
    "    user:",
    `      token: ${text(token)}`,
    "contexts:",
    "  - name: skylane-lab",
    "    context:",
    "      cluster: skylane-lab",
    `      user: ${text(user)}`,
    "current-context: skylane-lab",
    "",
  ].join("\n");
}
