/**
 * The first thing that Node runs for the CNI plugin: the plugin itself is the script beside this one, and this one
 * starts it with the bytecode that V8 made of it when it was built. A plugin's process lives for some
 * 50 ms, of which parsing and compiling would be 20, again for every pod.
 *
 * The cache belongs to one build of the script (a stamp in both says which) and to one version of Node with the flags
 * that the launcher gives it (V8 checks that). Whatever does not fit is not used, and costs only time.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { Script } from "node:vm";

const PLUGIN = `${(process.argv[1] ?? "").replace(/[^/]*$/, "")}skylane-plugin.cjs`;
const CACHE = PLUGIN.replace(/\.cjs$/, ".cache");
/** Ends the script and begins the cache: "//" and 16 hexadecimal digits. */
const STAMP = /\/\/[0-9a-f]{16}$/;
const STAMP_LENGTH = 18;

/** The script as a function; it is one bundle, so all that it requires are modules of Node itself. */
type Main = (require: (id: string) => object | undefined, exports: object, module: object, filename: string) => void;

/** The bundle is plain ASCII, so that it may be read as Latin-1: one byte a character, as V8 then keeps it. */
const wrap = (source: string): string => `(function (require, exports, module, __filename) {${source}\n})`;

function cacheFor(source: string): Buffer | undefined {
  const stamp = source.slice(-STAMP_LENGTH);
  if (!STAMP.test(stamp)) return undefined;
  try {
    const cache = readFileSync(CACHE);
    return cache.toString("latin1", 0, STAMP_LENGTH) === stamp ? cache.subarray(STAMP_LENGTH) : undefined;
  } catch {
    return undefined; // started without one
  }
}

/** Whole or not at all: a plugin may be starting while it is built anew. */
function replace(file: string, data: string | Buffer): void {
  writeFileSync(`${file}.new`, data);
  renameSync(`${file}.new`, file);
}

/** At build time: stamps the script and compiles all of it, what runs seldom too. */
function makeCache(): void {
  const source = readFileSync(PLUGIN, "latin1").replace(STAMP, "");
  const { createHash } = process.getBuiltinModule("node:crypto");
  const stamp = `//${createHash("sha256").update(source).digest("hex").slice(0, 16)}`;
  const stamped = `${source}${stamp}`;
  const { setFlagsFromString } = process.getBuiltinModule("node:v8");
  setFlagsFromString("--no-lazy");
  const script = new Script(wrap(stamped), { filename: PLUGIN });
  // The cache names the flags that it was made under, which must be those of every later start.
  setFlagsFromString("--lazy");
  replace(CACHE, Buffer.concat([Buffer.from(stamp), script.createCachedData()]));
  replace(PLUGIN, stamped);
}

function start(): void {
  const source = readFileSync(PLUGIN, "latin1");
  const cachedData = cacheFor(source);
  const script = new Script(wrap(source), { filename: PLUGIN, ...(cachedData && { cachedData }) });
  const main = script.runInThisContext() as Main;
  main((id) => process.getBuiltinModule(id), {}, {}, PLUGIN);
}

// A runtime passes no arguments.
if (process.argv[2] === "--build-cache") makeCache();
else {
  try {
    start();
  } catch (error) {
    const details = "Skylane's installation on this node is incomplete; install it again.";
    const msg = `Cannot start ${PLUGIN}: ${error instanceof Error ? error.message : String(error)}`;
    process.stdout.write(`${JSON.stringify({ cniVersion: "1.1.0", code: 100, msg, details })}\n`);
    process.exitCode = 1;
  }
}
