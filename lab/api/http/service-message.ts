/** A `Service` in protobuf, the message alone, with what people and controllers write of its addresses and ports (core/v1/generated.proto). */
import type { Json, KubeObject } from "../types.ts";
import { bytes, list, metadataMessage, number, object, say, text } from "./wire.ts";

const says = (value: Json | undefined): string[] => (Array.isArray(value) ? value.map(say) : []);

/** See the header. */
export function serviceMessage(service: KubeObject): Buffer {
  const [spec, status] = [object(service["spec"]), object(service["status"])];
  const port = (of: ReturnType<typeof object>): Buffer =>
    Buffer.concat([
      text(1, say(of["name"])),
      text(2, say(of["protocol"])),
      number(3, Number(of["port"] ?? 0)),
      number(5, Number(of["nodePort"] ?? 0)),
    ]);
  return Buffer.concat([
    metadataMessage(service.metadata),
    bytes(
      2,
      Buffer.concat([
        ...list(spec["ports"]).map((one) => bytes(1, port(one))),
        text(3, say(spec["clusterIP"])),
        text(4, say(spec["type"])),
        ...says(spec["externalIPs"]).map((ip) => text(5, ip)),
        ...says(spec["clusterIPs"]).map((ip) => text(18, ip)),
      ]),
    ),
    bytes(
      3,
      bytes(
        1,
        Buffer.concat(list(object(status["loadBalancer"])["ingress"]).map((one) => bytes(1, text(1, say(one["ip"]))))),
      ),
    ),
  ]);
}
