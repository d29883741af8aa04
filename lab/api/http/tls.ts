/**
 * A certificate authority of the server's own and a server certificate under it. node:crypto reads X.509 and cannot
 * issue it, so openssl does, called with arguments and small configuration files, never through a shell. The
 * authority is kept where a directory is given, so that clients of an earlier run still trust the server.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** What a TLS server needs, and what its clients do. */
export interface Certificates {
  caPem: string;
  certPem: string;
  keyPem: string;
}

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/**
 * Makes what is missing. `names` are the addresses and DNS names that clients use; `certDir` keeps the authority.
 * Throws when openssl is not there or refuses.
 */
export async function certificates(names: readonly string[], certDir?: string): Promise<Certificates> {
  const dir = certDir ?? mkdtempSync(join(tmpdir(), "skylane-lab-api-"));
  try {
    if (certDir !== undefined) mkdirSync(certDir, { recursive: true, mode: 0o700 });
    const at = (name: string): string => join(dir, name);
    const config = at("openssl.cnf");
    writeFileSync(config, configuration(names), { mode: 0o600 });
    if (!existsSync(at("ca.crt")) || !existsSync(at("ca.key"))) {
      const out = ["-keyout", at("ca.key"), "-out", at("ca.crt")];
      await openssl(
        "req",
        "-x509",
        ...NEW_KEY,
        ...out,
        "-days",
        "3650",
        "-config",
        config,
        "-extensions",
        "authority",
        "-subj",
        "/CN=skylane-lab-ca",
      );
    }
    await openssl(
      "req",
      "-new",
      ...NEW_KEY,
      "-keyout",
      at("tls.key"),
      "-out",
      at("tls.csr"),
      "-config",
      config,
      "-subj",
      "/CN=skylane-lab-api",
    );
    const authority = ["-CA", at("ca.crt"), "-CAkey", at("ca.key"), "-CAcreateserial"];
    const extensions = ["-extfile", config, "-extensions", "server"];
    await openssl(
      "x509",
      "-req",
      "-in",
      at("tls.csr"),
      ...authority,
      "-days",
      "3650",
      ...extensions,
      "-out",
      at("tls.crt"),
    );
    const read = (name: string): string => readFileSync(at(name), "utf8");
    return { caPem: read("ca.crt"), certPem: read("tls.crt"), keyPem: read("tls.key") };
  } finally {
    if (certDir === undefined) rmSync(dir, { recursive: true, force: true });
  }
}

function configuration(names: readonly string[]): string {
  const alternatives = [...new Set(names)].map((name) => `${isIP(name) === 0 ? "DNS" : "IP"}:${name}`);
  return [
    "[req]",
    "distinguished_name = subject",
    "[subject]",
    "[authority]",
    "basicConstraints = critical, CA:TRUE",
    "keyUsage = critical, keyCertSign, cRLSign",
    "subjectKeyIdentifier = hash",
    "[server]",
    "basicConstraints = critical, CA:FALSE",
    "keyUsage = critical, digitalSignature",
    "extendedKeyUsage = serverAuth",
    "authorityKeyIdentifier = keyid",
    `subjectAltName = ${alternatives.join(", ")}`,
    "",
  ].join("\n");
}

async function openssl(...args: string[]): Promise<void> {
  try {
    await run("openssl", args);
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") {
      throw new Error("openssl is needed for the lab API's certificates: apt-get install openssl", { cause });
    }
    throw new Error(`openssl ${args[0]} could not make the lab API's certificates`, { cause });
  }
}
