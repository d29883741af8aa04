/**
 * The live map of made-up nodes in a process that does nothing else: node bench/simulator/map-child.ts NODES PODS_EACH. Runs until its parent closes stdin; for each
 * line it reads, one pair of nodes is otherwise than before, and it prints its address as one line of JSON.
 */
import { createInterface } from "node:readline";
import { serveMany } from "./map-nodes.ts";

const [nodes, podsEach] = process.argv.slice(2).map(Number);
const many = await serveMany(nodes ?? 0, podsEach);
let changes = 0;
const lines = createInterface({ input: process.stdin });
lines.on("line", () => {
  many.measure(5, { to: 7, state: changes++ % 2 === 0 ? "answers" : "loss" });
  process.stdout.write(`${JSON.stringify({ url: many.url })}\n`);
});
lines.on("close", () => void many.close());
