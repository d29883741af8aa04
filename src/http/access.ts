/** Who may ask the agent something over TCP. */
import { readFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { cidrContains, familyOf, ipScope, parseIp } from "../addr/index.ts";
import { type AgentConfig, parseListen } from "../config/index.ts";
import type { Logger } from "../log/index.ts";
import type { Access } from "./http.ts";

/**
 * Access to the node's own address. A loopback address is for the node's own processes also where the kernel would let
 * others in: kube-proxy sets `route_localnet`, and with that a pod that writes its own packets reaches 127.0.0.1.
 */
export function localAccess(listen: string): Access {
  const { host } = parseListen(listen);
  if (host === undefined || ipScope(host) !== "loopback") return {};
  return { admits: (address) => ipScope(address) === "loopback" };
}

/** Access to the metrics for others. */
export function metricsAccess({ allow, tokenFile }: AgentConfig["metrics"], log: Pick<Logger, "error">): Access {
  const admits = (address: string): boolean =>
    allow.length === 0 ||
    allow.some((cidr) => familyOf(cidr) === familyOf(address) && cidrContains(cidr, parseIp(address)));
  if (tokenFile === undefined) return { admits };
  let complaint = "";
  const token = (): string => {
    try {
      const text = readFileSync(tokenFile, "utf8").trim();
      if (text === "") throw new Error("it is empty");
      complaint = "";
      return text;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (why !== complaint) log.error(`nobody gets the metrics: no token can be read from ${tokenFile}`, { error });
      complaint = why;
      return randomBytes(32).toString("hex");
    }
  };
  return { admits, token };
}
