/**
 * The table of contents of docs/adr, made of the pages' own titles.
 *
 *   node scripts/adr.ts            writes docs/adr/README.md
 *   node scripts/adr.ts --check    fails when it is not what would be written
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../docs/adr", import.meta.url));
const page = join(folder, "README.md");

const rows = readdirSync(folder)
  .filter((name) => /^\d{4}-.*\.md$/.test(name))
  .sort()
  .map((name) => {
    const title = /^# (\d+)\. (.+)$/m.exec(readFileSync(join(folder, name), "utf8"));
    if (!title || Number(title[1]) !== Number(name.slice(0, 4)))
      throw new Error(`docs/adr/${name} does not begin with "# ${Number(name.slice(0, 4))}. Title"`);
    return `| ${title[1]} | [${title[2]}](${name}) |`;
  });
const text = `# Decisions

Each page says what was to be decided, what was decided and why, and what follows. A page is never rewritten after the
fact: a later one that changes it says so. Made by \`node scripts/adr.ts\` from the pages' titles.

| | |
|---|---|
${rows.join("\n")}
`;

if (!process.argv.includes("--check")) writeFileSync(page, text);
else if (readFileSync(page, "utf8") !== text) {
  console.error("docs/adr/README.md is out of date: node scripts/adr.ts");
  process.exitCode = 1;
}
