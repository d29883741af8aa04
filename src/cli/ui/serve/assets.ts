/** The page's files, as the build has made them: beside the bundle that this is in, or in the tree's dist where this runs from its source. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { CommandError } from "../../command.ts";

export interface Asset {
  type: string;
  body: Buffer;
}

/** Names as they are asked for, the file of each, and its MIME type. */
const FILES: Readonly<Record<string, readonly [file: string, type: string]>> = {
  "": ["index.html", "text/html; charset=utf-8"],
  "page.js": ["page.js", "text/javascript; charset=utf-8"],
  "page.css": ["page.css", "text/css; charset=utf-8"],
};

/** Reads them. @throws CommandError when they are not there */
export function readAssets(): ReadonlyMap<string, Asset> {
  const here = dirname(fileURLToPath(import.meta.url));
  const places = [join(here, "ui"), join(here, "../../../../dist/lib/skylane/ui")];
  const found = places.find((dir) => existsSync(join(dir, "index.html")));
  if (found === undefined) throw new CommandError(`the map's page is not in ${places.join(", ")}; run "npm run build"`);
  return new Map(
    Object.entries(FILES).map(([name, [file, type]]) => [name, { type, body: readFileSync(join(found, file)) }]),
  );
}
