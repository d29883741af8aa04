/** Encryption between nodes in the hands of the agent: begun where it is configured, and taken off the node where it is not. */
import type { AgentConfig } from "../../config/index.ts";
import { Encryption, type EncryptionOptions, removeEncryption } from "../../dataplane/encryption/index.ts";
import { type Routes, text } from "../../http/index.ts";
import { errorText, type Logger } from "../../log/index.ts";
import type { Rtnl } from "../../netlink/index.ts";
import type { Metrics } from "../../observe/index.ts";

/** Makes it; undefined where it is off. */
export function encryptionOf(
  config: AgentConfig,
  { metrics, ...options }: Pick<EncryptionOptions, "log" | "watch" | "onState" | "warn"> & { metrics: Metrics },
): Encryption | undefined {
  const { encryption: mode, encryptionKeyDays: keyDays, wireguardPort, port: vxlanPort, dataDir, network } = config;
  if (mode === "off") return undefined;
  const encryption = new Encryption({
    ...options,
    mode,
    wireguardPort,
    vxlanPort,
    dataDir,
    keyDays,
    onRotated: () => metrics.keyRotations.inc(),
    onRepair: (kind, count) => metrics.repairs.inc({ network, kind }, count),
  });
  metrics.beforeScrape(() => metrics.sampleEncryption(encryption.status()));
  return encryption;
}

/** Begins it, or takes away what an agent before this one has left. @throws Error where what is in the clear cannot be kept back, and must be */
export async function startEncryption(encryption: Encryption | undefined, rtnl: Rtnl, log: Logger): Promise<void> {
  if (encryption) return encryption.start();
  try {
    for (const removed of await removeEncryption(rtnl)) log.info(`encryption is off: removed ${removed}`);
  } catch (error) {
    // The other nodes send in the clear as soon as they hear that this one has no key.
    log.warn("what is left of encryption between nodes cannot be removed; the next start tries again", { error });
  }
}

/**
 * Of this node's key, each with the public half for an answer. `PUT /encryption/new-key`: another one at once; `…/rotate-key`: begins to go over to
 * another one; `…/finish-rotation`: does so now.
 */
export function encryptionRoutes(encryption: Encryption | undefined): Routes {
  const answer = (change: (encryption: Encryption) => string) => () => {
    if (!encryption) return text(400, "this node does not encrypt (encryption: off)\n");
    try {
      return text(200, `${change(encryption)}\n`);
    } catch (error) {
      return text(400, `${errorText(error)}\n`);
    }
  };
  return {
    "PUT /encryption/new-key": answer((one) => one.newKey()),
    "PUT /encryption/rotate-key": answer((one) => one.rotateKey()),
    "PUT /encryption/finish-rotation": answer((one) => one.finishRotation()),
  };
}
