/**
 * Go's text/template as far as the chart needs it, read into a tree: text, `if`, `with`, `range`, `define`, assignments and
 * pipelines of commands. What is not understood is an error, so that a template never means something else here than in Helm.
 */

export type Node =
  | { kind: "text"; text: string }
  | { kind: "show"; pipe: Pipe }
  | { kind: "set"; name: string; pipe: Pipe }
  | { kind: "if" | "with"; pipe: Pipe; body: Node[]; otherwise: Node[] }
  | { kind: "range"; names: string[]; pipe: Pipe; body: Node[]; otherwise: Node[] };

/** Commands whose result each is the last argument of the next. */
export type Pipe = Command[];
/** A word with its arguments. */
export type Command = Operand[];
export type Operand =
  | { kind: "literal"; value: unknown }
  | { kind: "call"; name: string }
  /** A path from the dot (`base` ""), from `$` or from a variable. */
  | { kind: "path"; base: string; keys: string[] }
  | { kind: "pipe"; pipe: Pipe; keys: string[] };

/** A template and what it defines for others. */
export interface Parsed {
  body: Node[];
  defined: Map<string, Node[]>;
}

const TOKEN =
  /\s*(?:("(?:[^"\\]|\\.)*")|`([^`]*)`|(-?\d+(?:\.\d+)?)|(\$?(?:[A-Za-z_]\w*)?(?:\.[A-Za-z_]\w*)+|\$(?:[A-Za-z_]\w*)?|\.)|([A-Za-z_]\w*)|(:=|=|\||\(|\)|,))/y;

type Token = { text: string; value?: unknown; kind: "literal" | "path" | "word" | "mark" };

function tokens(action: string): Token[] {
  const found: Token[] = [];
  TOKEN.lastIndex = 0;
  const text = action.trim();
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (!match) throw new Error(`not understood in the chart: {{ ${text} }}`);
    const [whole, quoted, raw, number, path, word, mark = ""] = match;
    if (quoted !== undefined) found.push({ kind: "literal", text: whole, value: JSON.parse(quoted) as unknown });
    else if (raw !== undefined) found.push({ kind: "literal", text: whole, value: raw });
    else if (number !== undefined) found.push({ kind: "literal", text: whole, value: Number(number) });
    else if (path !== undefined) found.push({ kind: "path", text: path });
    else if (word !== undefined) found.push({ kind: "word", text: word });
    else found.push({ kind: "mark", text: mark });
  }
  return found;
}

const LITERALS: Readonly<Record<string, unknown>> = { true: true, false: false, nil: null };

function pathOf(text: string): Operand {
  const [base = "", ...keys] = text.split(".");
  return { kind: "path", base, keys: keys.filter((key) => key !== "") };
}

/** Reads a pipeline from tokens, up to the end or to a closing parenthesis. */
function pipeline(rest: Token[]): Pipe {
  const pipe: Pipe = [];
  let command: Command = [];
  const end = (): void => {
    if (command.length === 0) throw new Error("not understood in the chart: an empty command");
    pipe.push(command);
    command = [];
  };
  for (let token = rest.shift(); token !== undefined; token = rest.shift()) {
    if (token.kind === "literal") command.push({ kind: "literal", value: token.value });
    else if (token.kind === "path") command.push(pathOf(token.text));
    else if (token.kind === "word")
      command.push(
        Object.hasOwn(LITERALS, token.text)
          ? { kind: "literal", value: LITERALS[token.text] }
          : { kind: "call", name: token.text },
      );
    else if (token.text === "(") {
      const inner = pipeline(rest);
      const next = rest[0];
      const keys = next?.kind === "path" && next.text.startsWith(".") && next.text !== "." ? next.text.slice(1) : "";
      if (keys !== "") rest.shift();
      command.push({ kind: "pipe", pipe: inner, keys: keys === "" ? [] : keys.split(".") });
    } else if (token.text === ")") break;
    else if (token.text === "|") end();
    else throw new Error(`not understood in the chart: ${token.text}`);
  }
  end();
  return pipe;
}

const pipeOf = (text: string): Pipe => pipeline(tokens(text));

/** `range $k, $v := PIPE`. */
function rangeOf(text: string): { names: string[]; pipe: Pipe } {
  const [, names = "", pipe = ""] = /^((?:\$\w+\s*,\s*)?\$\w+)\s*:=\s*(.*)$/s.exec(text) ?? [undefined, "", text];
  return { names: names.split(",").flatMap((name) => name.trim() || []), pipe: pipeOf(pipe) };
}

interface Block {
  node?: Extract<Node, { body: Node[] }>;
  into: Node[];
}

/** Reads a template. @throws Error naming what it does not understand */
export function parseTemplate(source: string): Parsed {
  const text = source.replace(/\s*\{\{-(?=\s)/g, "{{").replace(/(?<=\s)-\}\}\s*/g, "}}");
  const body: Node[] = [];
  const defined = new Map<string, Node[]>();
  const open: Block[] = [{ into: body }];
  const here = (): Block => open.at(-1) as Block;
  let last = 0;
  for (const match of text.matchAll(/\{\{\s*(.*?)\s*\}\}/gs)) {
    if (match.index > last) here().into.push({ kind: "text", text: text.slice(last, match.index) });
    last = match.index + match[0].length;
    action(match[1] as string);
  }
  if (last < text.length) here().into.push({ kind: "text", text: text.slice(last) });
  if (open.length > 1) throw new Error("a block of the chart has no {{ end }}");
  return { body, defined };

  function action(given: string): void {
    if (given.startsWith("/*")) return;
    const [, word = "", rest = ""] = /^(\w+)\b\s*(.*)$/s.exec(given) ?? [];
    if (word === "end") {
      if (open.length === 1) throw new Error("the chart has an {{ end }} of nothing");
      open.pop();
    } else if (word === "if" || word === "with") {
      begin({ kind: word, pipe: pipeOf(rest), body: [], otherwise: [] });
    } else if (word === "range") begin({ kind: "range", ...rangeOf(rest), body: [], otherwise: [] });
    else if (word === "define") {
      const into: Node[] = [];
      defined.set(JSON.parse(rest) as string, into);
      open.push({ into });
    } else if (word === "else") otherwise(rest);
    else {
      const [, name, pipe = ""] = /^(\$\w+)\s*:?=\s*(.*)$/s.exec(given) ?? [];
      here().into.push(
        name === undefined ? { kind: "show", pipe: pipeOf(given) } : { kind: "set", name, pipe: pipeOf(pipe) },
      );
    }
  }

  function begin(node: Extract<Node, { body: Node[] }>): void {
    here().into.push(node);
    open.push({ node, into: node.body });
  }

  function otherwise(rest: string): void {
    const { node } = here();
    if (!node) throw new Error("the chart has an {{ else }} of nothing");
    if (rest === "") {
      here().into = node.otherwise;
      return;
    }
    const [, word = "", condition = ""] = /^(if|with)\s+(.*)$/s.exec(rest) ?? [];
    if (word !== "if") throw new Error(`not understood in the chart: {{ else ${rest} }}`);
    const next: Node = { kind: "if", pipe: pipeOf(condition), body: [], otherwise: [] };
    node.otherwise.push(next);
    open.pop();
    open.push({ node: next, into: next.body });
  }
}
