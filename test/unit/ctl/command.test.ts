import assert from "node:assert/strict";
import fc from "fast-check";
import { type Command, CommandError, describeError, main, nodeCommands, OUTPUT } from "../../../src/cli/index.ts";
import { labCommands } from "../../../lab/index.ts";

interface Said {
  status: number;
  out: string;
  err: string;
}

async function call(commands: readonly Command[], ...argv: string[]): Promise<Said> {
  const said: Said = { status: -1, out: "", err: "" };
  said.status = await main(commands, {
    argv,
    stdout: (text) => void (said.out += text),
    stderr: (text) => void (said.err += text),
  });
  return said;
}

describe("the command line", () => {
  const seen: unknown[] = [];
  const commands: Command[] = [
    {
      words: ["thing", "do"],
      summary: "Does a thing",
      operands: "NAME [OTHER]",
      count: [1, 2],
      options: { ...OUTPUT, fast: { short: "f", help: "quickly" }, size: { value: "N", help: "how big" } },
      run: async (input) => {
        const { operands, rest, json } = input;
        seen.push({ operands, rest, json, fast: input.flag("fast"), size: input.number("size", 1, 9) });
        return 0;
      },
    },
    { words: ["thing"], summary: "Shows things", run: async () => undefined },
    {
      words: ["fail"],
      summary: "Fails",
      run: () => Promise.reject(new CommandError("it broke", { cause: new Error("the disk is full") })),
    },
    { words: ["secret"], summary: "Hidden", hidden: true, run: async () => 7 },
  ];
  beforeEach(() => seen.splice(0));

  it("takes the longest command that fits and its arguments apart", async () => {
    const { status } = await call(
      commands,
      "thing",
      "do",
      "a",
      "-f",
      "--size",
      "3",
      "-o",
      "json",
      "--",
      "-x",
      "--size",
    );
    assert.equal(status, 0);
    assert.deepEqual(seen, [{ operands: ["a"], rest: ["-x", "--size"], json: true, fast: true, size: 3 }]);
    assert.equal((await call(commands, "thing")).status, 0);
    assert.equal((await call(commands, "secret")).status, 7);
  });

  it("says what is wrong, how it should be, and ends with status 2", async () => {
    const wrong: [string[], RegExp][] = [
      [["thing", "do"], /thing do: needs NAME \[OTHER\]\nUsage: skylanectl thing do \[options\] NAME \[OTHER\]/],
      [["thing", "do", "a", "b", "c"], /does not know what to do with "c"/],
      [["thing", "do", "a", "--sizw", "3"], /Unknown option '--sizw'\n/],
      [["thing", "do", "a", "--size"], /size/],
      [["thing", "do", "a", "--size", "10"], /--size must be a whole number from 1 to 9, not "10"/],
      [["thing", "do", "a", "--size", "3x"], /not "3x"/],
      [["thing", "do", "a", "-o", "yaml"], /--output must be "table" or "json", not "yaml"/],
      [["nothing"], /no command "nothing"; see skylanectl --help/],
      [["--bogus"], /unknown option "--bogus"/],
    ];
    for (const [argv, message] of wrong) {
      const { status, err, out } = await call(commands, ...argv);
      assert.equal(status, 2, argv.join(" "));
      assert.match(err, message);
      assert.equal(out, "");
    }
    assert.deepEqual(seen, []);
  });

  it("says why something failed, with its causes, and ends with status 1", async () => {
    const { status, err } = await call(commands, "fail");
    assert.deepEqual([status, err], [1, "skylanectl fail: it broke: the disk is full\n"]);
    assert.equal(describeError(new Error("a", { cause: new Error("a: b") })), "a: a: b");
    assert.equal(describeError(new Error("a: b", { cause: new Error("b") })), "a: b");
    assert.equal(describeError("text"), "'text'");
  });

  it("helps with every command, and lists all but the hidden ones", async () => {
    const all = [...nodeCommands, ...labCommands];
    for (const argv of [[], ["--help"], ["-h"], ["help"]]) {
      const { status, out } = await call(all, ...argv);
      assert.equal(status, 0);
      for (const command of all)
        assert.equal(out.includes(`  ${command.words.join(" ")} `), !command.hidden, command.words.join(" "));
    }
    for (const command of all) {
      const { status, out } = await call(all, ...command.words, "--help");
      assert.equal(status, 0);
      for (const [name, { help }] of Object.entries(command.options ?? {})) {
        assert.ok(out.includes(`--${name}`) && out.includes(help), `${command.words.join(" ")} --${name}`);
      }
      assert.ok(
        out.split("\n").every((line) => line.length <= 160),
        out,
      );
    }
    const group = await call(all, "lab", "pod");
    assert.equal(group.status, 2);
    assert.match(group.out, /lab pod add NODE/);
    assert.ok(!group.out.includes("lab up"));
  });

  it("has no two commands of the same words, and no option twice", () => {
    const words = [...nodeCommands, ...labCommands].map((command) => command.words.join(" "));
    assert.equal(new Set(words).size, words.length);
  });

  it("never throws, whatever the words", async () => {
    const word = fc.oneof(
      fc.constantFrom("thing", "do", "-f", "--size", "--", "--help", "-o", "json", "="),
      fc.string(),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(word, { maxLength: 8 }), async (argv) => {
        const { status } = await call(commands, ...argv);
        assert.ok([0, 1, 2, 7].includes(status));
      }),
      { numRuns: 300 },
    );
  });
});
