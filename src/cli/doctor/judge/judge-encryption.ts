/** Is what goes to other nodes encrypted, where that is configured? */
import type { Facts } from "../facts.ts";
import { fail, type Finding, ok, some, warn } from "../finding.ts";

/** Nothing where it is off. */
export function judgeEncryption({ agent }: Facts): Finding[] {
  const encryption = "value" in agent ? agent.value.encryption : undefined;
  if (!encryption) return [];
  const { mode, ready, message, peers, port, rotation } = encryption;
  const those = (...states: string[]): string =>
    some(peers.filter(({ state }) => states.includes(state)).map(({ node, why = "" }) => `${node}: ${why}`));
  const has = (...states: string[]): boolean => peers.some(({ state }) => states.includes(state));
  if (!ready)
    return [
      fail(
        "encryption",
        `not in force: ${message}`,
        mode === "strict"
          ? "Nothing goes to pods of other nodes, and nothing is taken from there."
          : "What goes to pods of other nodes goes in the clear.",
        "docs/encryption.md says what it needs.",
      ),
    ];
  return [
    ...(has("waiting")
      ? [
          fail(
            "encryption.handshake",
            those("waiting"),
            "Nothing passes to pods there: both nodes have not agreed on keys.",
            `Let UDP pass between the nodes, to the ports that they tell each other (${port} here), and look at skylanectl status there.`,
          ),
        ]
      : []),
    ...(has("blocked")
      ? [
          fail(
            "encryption.blocked",
            those("blocked"),
            "Nothing passes to pods there, since encryption is strict here.",
            "Switch encryption on there, or set encryption: wireguard here until it is.",
          ),
        ]
      : []),
    ...(has("plaintext")
      ? [
          warn(
            "encryption.plaintext",
            those("plaintext"),
            "What goes to pods there goes in the clear.",
            "Switch encryption on there, then set encryption: strict on all nodes, so that it stays so.",
          ),
        ]
      : []),
    ...(rotation?.standsStill
      ? [
          warn(
            "encryption.rotation",
            some(rotation.awaited.map(({ node, why }) => `${node}: ${why}`)),
            "This node goes over to another key, and keeps the old one for these; no packet is lost.",
            `Let UDP pass between the nodes to the three ports behind wireguardPort (${port + 1} to ${port + 3} here), and see that agents run there. skylanectl encryption rotate-key --finish cuts those off that are left.`,
          ),
        ]
      : []),
    ...(has("waiting", "blocked", "plaintext") ? [] : [ok("encryption", `${mode}, ${message}`)]),
  ];
}
