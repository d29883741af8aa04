/**
 * A node's key: made here, kept in a file that only root can read, and known to nobody else. What leaves this file is the public half, and, for the
 * kernel alone, the private one; it has no text, so that nothing can log it by mistake.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { chmodSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { makeDirectory, writeFileAtomic } from "../../sys/index.ts";

/** Folder of the data directory. */
export const WIREGUARD = "wireguard";
const FILE = "private-key";
/** Of files that have private keys. */
export const KEY_MODE = 0o600;
const KEY_BYTES = 32;
/** PrivateKeyInfo of an X25519 key (RFC 8410, section 7) up to its 32 bytes, which are the end of it. */
const PKCS8 = Buffer.from("302e020100300506032b656e04220420", "hex");

/** A key pair. */
export class NodeKey {
  /** Canonical base64, as WireGuard's tools have it. */
  readonly publicKey: string;
  readonly #private: KeyObject;

  /** @throws RangeError when there are not 32 bytes */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== KEY_BYTES) throw new RangeError(`a private key has ${KEY_BYTES} bytes, not ${bytes.length}`);
    this.#private = createPrivateKey({ key: Buffer.concat([PKCS8, bytes]), format: "der", type: "pkcs8" });
    const { x } = createPublicKey(this.#private).export({ format: "jwk" });
    this.publicKey = Buffer.from(x as string, "base64url").toString("base64");
  }

  /** A new one, of the system's random numbers. */
  static make(): NodeKey {
    const { privateKey } = generateKeyPairSync("x25519");
    return new NodeKey(privateBytes(privateKey));
  }

  /** The private half, for the kernel and the file. */
  get secret(): Uint8Array {
    return privateBytes(this.#private);
  }

  toJSON(): string {
    return `public key ${this.publicKey}`;
  }

  [inspect.custom](): string {
    return this.toJSON();
  }
}

const privateBytes = (key: KeyObject): Buffer => key.export({ format: "der", type: "pkcs8" }).subarray(-KEY_BYTES);

/** Where a node's key is. */
export const keyPath = (dataDir: string): string => join(dataDir, WIREGUARD, FILE);

/** Writes a node's key; it survives a power cut before anybody is told of its public half. @throws Error of the system */
export function writeKey(dataDir: string, key: NodeKey): void {
  makeDirectory(join(dataDir, WIREGUARD), 0o700);
  writeFileAtomic(keyPath(dataDir), `${Buffer.from(key.secret).toString("base64")}\n`, {
    mode: KEY_MODE,
    durable: true,
  });
}

/**
 * Reads a node's key, or makes and writes one where there is none.
 * @throws Error naming the file, never what is in it, when that is no key; Error of the system
 */
export function loadKey(dataDir: string): NodeKey {
  const path = keyPath(dataDir);
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    const key = NodeKey.make();
    writeKey(dataDir, key);
    return key;
  }
  closeToOthers(path);
  const key = keyOf(text);
  if (!key) throw new Error(`${path} is no key of WireGuard; remove it, and this node makes itself a new one`);
  return key;
}

/** The key of a private half in canonical base64; undefined where it is none. */
export function keyOf(text: string): NodeKey | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.length === KEY_BYTES && bytes.toString("base64") === text ? new NodeKey(bytes) : undefined;
}

/**
 * Sees that the file has the key, and that only root can read it.
 * @returns whether it was otherwise. @throws Error of the system
 */
export function keepKey(dataDir: string, key: NodeKey): boolean {
  const path = keyPath(dataDir);
  let same = false;
  try {
    same = readFileSync(path, "utf8").trim() === Buffer.from(key.secret).toString("base64");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  if (same) return closeToOthers(path);
  writeKey(dataDir, key);
  return true;
}

/** Takes a file from everybody but root. @returns whether it was otherwise. @throws Error of the system */
export function closeToOthers(path: string): boolean {
  if ((statSync(path).mode & 0o777) === KEY_MODE) return false;
  chmodSync(path, KEY_MODE);
  return true;
}
