/** Schemas of Skylane's own resources, as manifests/ defines them; a test holds the two against each other. */
import { CIDR_PATTERN, HOLDER_PATTERN, IP_PATTERN, MAC_PATTERN, NETWORK_PATTERN } from "../patterns.ts";
import type { Schema } from "./schema.ts";

const text: Schema = { type: "string" };
const count: Schema = { type: "integer" };
const network: Schema = { type: "string", minLength: 1, maxLength: 40, pattern: NETWORK_PATTERN };
const mac: Schema = { type: "string", pattern: MAC_PATTERN };
const ips: Schema = {
  type: "array",
  maxItems: 2,
  items: { type: "string", minLength: 2, maxLength: 39, pattern: IP_PATTERN },
};
const prefix: Schema = { type: "string", minLength: 4, maxLength: 49, pattern: CIDR_PATTERN };
const cidr: Schema = { type: "string", minLength: 3, maxLength: 43, pattern: CIDR_PATTERN };

const conditions: Schema = {
  type: "array",
  items: {
    type: "object",
    required: ["type", "status"],
    properties: {
      type: text,
      status: { type: "string", enum: ["True", "False", "Unknown"] },
      observedGeneration: { type: "integer", format: "int64" },
      reason: text,
      message: text,
      lastTransitionTime: { type: "string", format: "date-time" },
    },
  },
};

const selector: Schema = {
  type: "object",
  properties: {
    matchLabels: { type: "object", maxProperties: 64, additionalProperties: { type: "string", maxLength: 63 } },
    matchExpressions: {
      type: "array",
      maxItems: 32,
      items: {
        type: "object",
        required: ["key", "operator"],
        properties: {
          key: { type: "string", minLength: 1, maxLength: 317 },
          operator: { type: "string", enum: ["In", "NotIn", "Exists", "DoesNotExist"] },
          values: { type: "array", maxItems: 64, items: { type: "string", maxLength: 63 } },
        },
      },
    },
  },
};

function whole(spec: Schema, status?: Schema): Schema {
  const properties = { apiVersion: text, kind: text, metadata: { type: "object" as const }, spec };
  return {
    type: "object",
    required: ["spec"],
    properties: status === undefined ? properties : { ...properties, status },
  };
}

/** By plural name. */
export const NETWORK_SCHEMAS = {
  podnetworks: whole(
    {
      type: "object",
      required: ["vni", "cidrs"],
      properties: {
        vni: { type: "integer", format: "int32", minimum: 1, maximum: 16_777_215 },
        cidrs: { type: "array", minItems: 1, maxItems: 2, items: cidr },
        mode: { type: "string", enum: ["Routed", "Bridged"], default: "Routed" },
        blockSize: {
          type: "integer",
          format: "int32",
          enum: Array.from({ length: 15 }, (_, i) => 4 << i),
          default: 64,
        },
        mtu: { type: "integer", format: "int32", minimum: 576, maximum: 65_535 },
        masquerade: { type: "boolean", default: false },
        namespaceSelector: selector,
        directRouting: { type: "string", enum: ["off", "auto"], default: "off" },
        broadcast: { type: "string", enum: ["Replicate", "Drop"] },
        allowedAddresses: { type: "array", maxItems: 32, items: prefix },
      },
    },
    { type: "object", properties: { nodes: count, endpoints: count, conditions } },
  ),
  networkblocks: whole({
    type: "object",
    required: ["network", "cidr"],
    properties: {
      network,
      cidr,
      node: { type: "string", minLength: 1, maxLength: 253 },
      addresses: { type: "object", additionalProperties: { type: "string", maxLength: 354, pattern: HOLDER_PATTERN } },
    },
  }),
  networkendpoints: whole({
    type: "object",
    required: ["network", "node"],
    properties: {
      network,
      node: { type: "string", minLength: 1, maxLength: 253 },
      endpoints: {
        type: "array",
        items: {
          type: "object",
          required: ["ips", "mac"],
          properties: { ips, mac, moves: { type: "integer", format: "int64", minimum: 0 } },
        },
      },
    },
  }),
  ipclaims: whole(
    {
      type: "object",
      required: ["network"],
      properties: {
        network,
        podName: { type: "string", maxLength: 253 },
        ips,
        mac,
        allowedAddresses: { type: "array", maxItems: 8, items: prefix },
      },
    },
    {
      type: "object",
      properties: { ips: { type: "array", items: text }, mac: text, node: text, pod: text, podUID: text, conditions },
    },
  ),
  egressgateways: whole(
    {
      type: "object",
      required: ["nodeSelector", "egressAddresses"],
      properties: {
        network: { type: "string", maxLength: 40, pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" },
        podSelector: selector,
        namespaceSelector: selector,
        nodeSelector: selector,
        egressAddresses: {
          type: "array",
          minItems: 1,
          maxItems: 16,
          items: { type: "string", minLength: 2, maxLength: 39, pattern: IP_PATTERN },
        },
        destinationCIDRs: { type: "array", maxItems: 32, items: prefix },
      },
    },
    {
      type: "object",
      properties: {
        addresses: {
          type: "array",
          items: {
            type: "object",
            required: ["address", "node", "generation"],
            properties: { address: text, node: text, generation: { type: "integer", format: "int64" } },
          },
        },
        pods: count,
        conditions,
      },
    },
  ),
} satisfies Record<string, Schema>;
