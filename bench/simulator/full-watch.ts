/** A watch of whole Nodes, as flannel's and most others' are: what the agent's watch of metadata is held against. */
import { readFileSync } from "node:fs";
import { get } from "node:https";
import type { Access } from "./api-child.ts";

const { url, caPem: ca, token } = JSON.parse(readFileSync(process.argv[2] as string, "utf8")) as Access;
const headers = { authorization: `Bearer ${token}`, accept: "application/json" };

get(`${url}/api/v1/nodes?limit=1`, { ca, headers }, (list) => {
  let text = "";
  list.setEncoding("utf8").on("data", (part: string) => (text += part));
  list.on("end", () => {
    const { resourceVersion } = (JSON.parse(text) as { metadata: { resourceVersion: string } }).metadata;
    get(`${url}/api/v1/nodes?watch=true&resourceVersion=${resourceVersion}`, { ca, headers }, (watch) => {
      if (watch.statusCode !== 200) process.exit(1);
      watch.resume();
    });
    process.send?.("watching");
  });
});
process.on("disconnect", () => process.exit(0));
