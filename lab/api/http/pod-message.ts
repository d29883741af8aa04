/**
 * A `Pod` in protobuf, the message alone, with what people, scheduler and kubelets write of it (core/v1/generated.proto): containers without
 * their volumes, probes and security, and the states of containers are left out.
 */
import type { Json, JsonObject, KubeObject } from "../types.ts";
import { bytes, list, metadataMessage, number, object, say, text, texts } from "./wire.ts";

const flag = (field: number, value: Json | undefined): Buffer => number(field, value === true ? 1 : 0);

function container(of: JsonObject): Buffer {
  return Buffer.concat([
    text(1, say(of["name"])),
    text(2, say(of["image"])),
    texts(3, of["command"]),
    texts(4, of["args"]),
    text(5, say(of["workingDir"])),
    ...list(of["ports"]).map((port) =>
      bytes(
        6,
        Buffer.concat([
          text(1, say(port["name"])),
          number(2, Number(port["hostPort"] ?? 0)),
          number(3, Number(port["containerPort"] ?? 0)),
          text(4, say(port["protocol"])),
          text(5, say(port["hostIP"])),
        ]),
      ),
    ),
    ...list(of["env"]).map((one) => bytes(7, Buffer.concat([text(1, say(one["name"])), text(2, say(one["value"]))]))),
    text(14, say(of["imagePullPolicy"])),
    ...(typeof of["restartPolicy"] === "string" ? [text(24, of["restartPolicy"])] : []),
  ]);
}

/** See the header. */
export function podMessage(pod: KubeObject): Buffer {
  const [spec, status] = [object(pod["spec"]), object(pod["status"])];
  const podIps = list(status["podIPs"]);
  return Buffer.concat([
    metadataMessage(pod.metadata),
    bytes(
      2,
      Buffer.concat([
        ...list(spec["containers"]).map((one) => bytes(2, container(one))),
        text(3, say(spec["restartPolicy"])),
        text(6, say(spec["dnsPolicy"])),
        text(8, say(spec["serviceAccountName"])),
        text(10, say(spec["nodeName"])),
        flag(11, spec["hostNetwork"]),
        flag(12, spec["hostPID"]),
        flag(13, spec["hostIPC"]),
        text(19, say(spec["schedulerName"])),
        ...list(spec["initContainers"]).map((one) => bytes(20, container(one))),
      ]),
    ),
    bytes(
      3,
      Buffer.concat([
        text(1, say(status["phase"])),
        ...list(status["conditions"]).map((one) =>
          bytes(2, Buffer.concat([text(1, say(one["type"])), text(2, say(one["status"]))])),
        ),
        text(5, say(status["hostIP"])),
        text(6, say(status["podIP"])),
        text(9, say(status["qosClass"])),
        ...podIps.map((one) => bytes(12, text(1, say(one["ip"])))),
      ]),
    ),
  ]);
}
