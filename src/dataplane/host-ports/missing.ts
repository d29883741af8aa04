/** Which mappings the packet filter does not have, for who looks at a node from the outside. Looks only. */
import { NftError, type RunTool } from "../nft/index.ts";
import { hostPortText, PROTOCOLS } from "./mapping.ts";
import type { HostPortRecord } from "./records.ts";
import { elementTexts, HOST_PORT_TABLE } from "./table.ts";

/** A mapped port that leads nowhere. */
export interface MissingHostPort {
  /** "8080/tcp". */
  port: string;
  containerId: string;
}

type Part = string | number;
type Listed = { map?: { name: string; elem?: [{ concat: Part[] }, { concat: Part[] }][] } };

const NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries(PROTOCOLS).map(([name, number]) => [String(number), name]),
);

/** @throws NftError when the packet filter cannot be read */
export async function missingHostPorts(run: RunTool, records: readonly HostPortRecord[]): Promise<MissingHostPort[]> {
  if (records.length === 0) return [];
  const there = await elementsThere(run);
  return records.flatMap(({ owner: { containerId }, ips, ports }) =>
    ports
      .filter((mapping) => !elementTexts({ ips, ports: [mapping] }).every((text) => there.has(text)))
      .map((mapping) => ({ port: hostPortText(mapping), containerId })),
  );
}

async function elementsThere(run: RunTool): Promise<Set<string>> {
  let text: string;
  try {
    text = await run("nft", ["-j", "list", "table", "inet", HOST_PORT_TABLE]);
  } catch (error) {
    if (error instanceof NftError && error.reason === "refused") return new Set(); // there is no such table
    throw error;
  }
  const { nftables } = JSON.parse(text) as { nftables: Listed[] };
  return new Set(
    nftables.flatMap(({ map }) =>
      (map?.elem ?? []).map(([key, value]) => {
        // A host without /etc/protocols has numbers for their names: the last but one part of a key.
        const parts = key.concat.map(String);
        const protocol = parts.at(-2) ?? "";
        parts.splice(-2, 1, NAMES.get(protocol) ?? protocol);
        return `${map?.name} ${parts.join(" . ")} : ${value.concat.join(" . ")}`;
      }),
    ),
  );
}
