/**
 * `skylanectl completion`: scripts by which shells complete the command line, made from the commands themselves. The word under the
 * cursor is completed by what may follow the words before it: further words of commands, and the options of the one that they are.
 */
import { type Command, UsageError } from "./command.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;
const PROGRAM = "skylanectl";

/** What may follow some words: "" for none, "lab pod" for two. */
function followers(commands: readonly Command[]): Map<string, string[]> {
  const found = new Map<string, Set<string>>();
  const add = (path: string, word: string): void => void found.set(path, (found.get(path) ?? new Set()).add(word));
  for (const { words, options = {}, hidden } of commands) {
    if (hidden) continue;
    for (const [i, word] of words.entries()) add(words.slice(0, i).join(" "), word);
    for (const name of [...Object.keys(options), "help"]) add(words.join(" "), `--${name}`);
  }
  return new Map([...found].map(([path, words]) => [path, [...words]]));
}

/** Words are letters, digits and dashes, so nothing needs to be quoted. */
function bash(tree: ReadonlyMap<string, readonly string[]>): string {
  // The longest first: "lab create" is also "lab" and something.
  const longest = [...tree].sort(([a], [b]) => b.split(" ").length - a.split(" ").length || (a < b ? -1 : 1));
  const cases = longest.map(
    ([path, words]) => `    ${path === "" ? '" "' : `" ${path} "*`}) words="${words.join(" ")}" ;;`,
  );
  return `_${PROGRAM}() {
  local words="" path="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) path="$path $word" ;; esac
  done
  case "$path " in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _${PROGRAM} ${PROGRAM}
`;
}

const zsh = (tree: ReadonlyMap<string, readonly string[]>): string =>
  `#compdef ${PROGRAM}\nautoload -U +X bashcompinit && bashcompinit\n${bash(tree)}`;

function fish(tree: ReadonlyMap<string, readonly string[]>): string {
  const lines = [...tree].map(([path, words]) => {
    const before = path === "" ? PROGRAM : `${PROGRAM} ${path}`;
    return `complete -c ${PROGRAM} -n "__${PROGRAM}_after '${before}'" -a '${words.join(" ")}'`;
  });
  return `function __${PROGRAM}_after
  test (string join ' ' (commandline -opc | string match -v -- '-*')) = "$argv[1]"
end
${lines.join("\n")}
`;
}

/** The script for a shell. @throws UsageError when it is none that is known */
export function completionScript(shell: string, commands: readonly Command[]): string {
  const tree = followers(commands);
  if (shell === "bash") return bash(tree);
  if (shell === "zsh") return zsh(tree);
  if (shell === "fish") return fish(tree);
  throw new UsageError(`the shell must be one of ${SHELLS.join(", ")}, not "${shell}"`);
}

/** The command. @param commands all that there are, this one among them */
export const completionCommand = (commands: () => readonly Command[]): Command => ({
  words: ["completion"],
  summary: "Print a script by which a shell completes this command line",
  operands: SHELLS.join("|"),
  count: [1, 1],
  details: `bash: source <(${PROGRAM} completion bash); zsh: ${PROGRAM} completion zsh > "\${fpath[1]}/_${PROGRAM}"; fish: ${PROGRAM} completion fish | source`,
  run: (input) => {
    process.stdout.write(completionScript(input.operands[0] as string, commands()));
    return Promise.resolve(0);
  },
});
