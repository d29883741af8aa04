/**
 * Nodes in the API server's protobuf form (field numbers: api's core/v1/generated.proto), as the same shapes that its JSON
 * has. Who a Node is, its pod CIDRs, addresses and conditions are all that is read: of 10 KB and more, most are images.
 */
import { type Answer, jsonOf } from "../client/client.ts";
import { unwrapped } from "./metadata-wire.ts";
import { textPair, type WireReader, WireError } from "./wire.ts";

/** As much of a Node as is read. */
export interface WireNode {
  metadata: { name: string; uid: string };
  spec: { podCIDR?: string; podCIDRs?: string[] };
  status: { addresses: { type: string; address: string }[]; conditions: { type: string; status: string }[] };
}

function identityOf(metadata: WireReader): WireNode["metadata"] {
  const out = { name: "", uid: "" };
  while (metadata.next()) {
    if (metadata.field === 1) out.name = metadata.text();
    else if (metadata.field === 5) out.uid = metadata.text();
  }
  return out;
}

function specOf(spec: WireReader): WireNode["spec"] {
  const out: WireNode["spec"] = {};
  while (spec.next()) {
    if (spec.field === 1) out.podCIDR = spec.text();
    else if (spec.field === 7) (out.podCIDRs ??= []).push(spec.text());
  }
  return out;
}

function statusOf(status: WireReader): WireNode["status"] {
  const out: WireNode["status"] = { addresses: [], conditions: [] };
  while (status.next()) {
    if (status.field === 4) {
      const [type, value] = textPair(status.message());
      // of the others' there is no use, and there are a dozen
      if (type === "Ready") out.conditions.push({ type, status: value });
    } else if (status.field === 5) {
      const [type, address] = textPair(status.message());
      out.addresses.push({ type, address });
    }
  }
  return out;
}

/** A `Node`. @throws WireError */
export function readNode(node: WireReader): WireNode {
  let metadata: WireNode["metadata"] | undefined;
  let spec: WireNode["spec"] = {};
  let status: WireNode["status"] = { addresses: [], conditions: [] };
  while (node.next()) {
    if (node.field === 1) metadata = identityOf(node.message());
    else if (node.field === 2) spec = specOf(node.message());
    else if (node.field === 3) status = statusOf(node.message());
  }
  if (metadata === undefined) throw new WireError("a Node without metadata");
  return { metadata, spec, status };
}

/** A Node as the whole answer, in whichever form it came. @throws WireError, Error when it is neither, or too long */
export async function nodeOf({ body, wire }: Answer): Promise<unknown> {
  if (!wire) return jsonOf(body);
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of body as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > MAX_NODE_BYTES) throw new WireError(`a Node of more than ${MAX_NODE_BYTES} bytes`);
    parts.push(part);
  }
  return readNode(unwrapped(Buffer.concat(parts)).raw);
}

/** etcd holds objects of at most 1.5 MiB. */
const MAX_NODE_BYTES = 16 << 20;
