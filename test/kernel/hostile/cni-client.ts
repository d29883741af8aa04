/**
 * A process that talks to the agent's CNI socket as a launcher does, with what it is told to say, and prints in JSON what the
 * agent answered: "" where it hung up. It is started in the network namespace of whom it stands for.
 */
import { openSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { libc } from "../../../src/sys/libc.ts";

/** What to say. */
export interface Words {
  socket: string;
  /** Namespaces to hand over, by path. */
  sandboxes: string[];
  /** Device and inode of the network namespace that is claimed to be ours. */
  own: [number, number];
  /** Half a key, in hexadecimal. */
  key: string;
  env: Record<string, string>;
  configuration: string;
}

/** One byte with open files: the same as src/sys sends, but for their number. */
function handOver(socket: Socket, fds: readonly number[]): void {
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  const { call, pointTo } = libc();
  const byte = Buffer.from("S");
  const vector = Buffer.alloc(16);
  pointTo(vector, 0, byte);
  vector.writeBigUInt64LE(1n, 8);
  const control = Buffer.alloc(16 + Math.ceil(fds.length / 2) * 8);
  control.writeBigUInt64LE(BigInt(16 + 4 * fds.length), 0);
  control.writeInt32LE(1, 8);
  control.writeInt32LE(1, 12);
  for (const [n, one] of fds.entries()) control.writeInt32LE(one, 16 + 4 * n);
  const message = Buffer.alloc(56);
  pointTo(message, 16, vector);
  message.writeBigUInt64LE(1n, 24);
  pointTo(message, 32, control);
  message.writeBigUInt64LE(BigInt(control.length), 40);
  call.sendmsg(fd, message, 0x4000);
}

const words = JSON.parse(process.argv[2] ?? "{}") as Words;
const { socket: path, sandboxes, own, key, env, configuration } = words;
const variables = Buffer.from(
  Object.entries(env)
    .map(([name, value]) => `${name}=${value}\0`)
    .join(""),
);
const head = Buffer.alloc(64);
head.write("skylane3");
head.writeUInt32LE(variables.length, 8);
head.writeUInt32LE(Buffer.byteLength(configuration), 12);
head.writeBigUInt64LE(BigInt(own[0]), 16);
head.writeBigUInt64LE(BigInt(own[1]), 24);
head.write(key, 32, "hex");
let heard = "";
const socket = connect(path, () => {
  handOver(
    socket,
    sandboxes.map((sandbox) => openSync(sandbox, "r")),
  );
  socket.write(Buffer.concat([head, variables, Buffer.from(configuration)]));
});
socket.setEncoding("latin1").on("data", (text: string) => {
  heard += text;
  if (heard.startsWith("A") && heard.length > 41) socket.end("K");
});
socket.on("error", () => undefined);
socket.on("close", () => console.log(JSON.stringify(heard)));
