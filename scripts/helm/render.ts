/** Renders a chart's templates as Helm does, as far as parse.ts understands them. */
import { FUNCTIONS, isTrue, shown } from "./functions.ts";
import { type Command, type Node, type Operand, parseTemplate, type Pipe } from "./parse.ts";

type Variables = ReadonlyMap<string, unknown>;

/** A chart's templates by name, and what they define for each other. */
export class Templates {
  readonly #bodies = new Map<string, Node[]>();
  readonly #defined = new Map<string, Node[]>();

  /** @param sources by the name that `$.Template.BasePath` and `include` give them. @throws Error naming what is not understood */
  constructor(sources: Readonly<Record<string, string>>) {
    for (const [name, source] of Object.entries(sources)) {
      const { body, defined } = parseTemplate(source);
      this.#bodies.set(name, body);
      for (const [key, nodes] of defined) this.#defined.set(key, nodes);
    }
  }

  /** The text that one of them gives for a scope (`Values`, `Release`, `Chart`, `Capabilities`). @throws Error */
  render(name: string, scope: object): string {
    const body = this.#defined.get(name) ?? this.#bodies.get(name);
    if (!body) throw new Error(`the chart has no template "${name}"`);
    return this.#nodes(body, scope, new Map([["$", scope]]));
  }

  #nodes(nodes: readonly Node[], dot: unknown, outer: Variables): string {
    const variables = new Map(outer);
    let out = "";
    for (const node of nodes) {
      if (node.kind === "text") out += node.text;
      else if (node.kind === "show") out += shown(this.#pipe(node.pipe, dot, variables));
      else if (node.kind === "set") variables.set(node.name, this.#pipe(node.pipe, dot, variables));
      else if (node.kind === "range") out += this.#range(node, dot, variables);
      else {
        const value = this.#pipe(node.pipe, dot, variables);
        const chosen = isTrue(value) ? node.body : node.otherwise;
        out += this.#nodes(chosen, node.kind === "with" && isTrue(value) ? value : dot, variables);
      }
    }
    return out;
  }

  #range(node: Extract<Node, { kind: "range" }>, dot: unknown, variables: Variables): string {
    const over = this.#pipe(node.pipe, dot, variables);
    const entries = Array.isArray(over)
      ? over.map((one: unknown, at) => [at, one] as const)
      : Object.entries(over ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
    if (entries.length === 0) return this.#nodes(node.otherwise, dot, variables);
    return entries
      .map(([key, one]) => {
        const [first, second] = node.names;
        const inner = new Map(variables);
        if (second !== undefined && first !== undefined) inner.set(first, key).set(second, one);
        else if (first !== undefined) inner.set(first, one);
        return this.#nodes(node.body, one, inner);
      })
      .join("");
  }

  #pipe(pipe: Pipe, dot: unknown, variables: Variables): unknown {
    let value: unknown;
    for (const [at, command] of pipe.entries()) value = this.#command(command, dot, variables, at === 0 ? [] : [value]);
    return value;
  }

  #command([head, ...rest]: Command, dot: unknown, variables: Variables, piped: unknown[]): unknown {
    if (!head) throw new Error("not understood in the chart: an empty command");
    const args = [...rest.map((one) => this.#operand(one, dot, variables)), ...piped];
    if (head.kind === "call") return this.#call(head.name, args);
    const value = this.#operand(head, dot, variables);
    if (typeof value === "function") return (value as (...given: unknown[]) => unknown)(...args);
    if (args.length > 0) throw new Error(`not understood in the chart: ${JSON.stringify(head)} is given arguments`);
    return value;
  }

  #call(name: string, args: unknown[]): unknown {
    if (name === "include") return this.render(String(args[0]), args[1] as object);
    const known = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
    if (!known) throw new Error(`not understood in the chart: the function ${name}`);
    return known(...(args as never[]));
  }

  #operand(operand: Operand, dot: unknown, variables: Variables): unknown {
    if (operand.kind === "literal") return operand.value;
    if (operand.kind === "call") return this.#call(operand.name, []);
    if (operand.kind === "pipe") return keysOf(this.#pipe(operand.pipe, dot, variables), operand.keys);
    if (operand.base !== "" && !variables.has(operand.base)) throw new Error(`the chart has no ${operand.base}`);
    return keysOf(operand.base === "" ? dot : variables.get(operand.base), operand.keys);
  }
}

/** Stricter than Helm, which prints nothing for a key that is missing: here each is spelt right. */
function keysOf(from: unknown, keys: readonly string[]): unknown {
  return keys.reduce<unknown>((value, key) => {
    if (value === null || typeof value !== "object" || !(key in value))
      throw new Error(`the chart has no .${keys.join(".")}`);
    const found = (value as Record<string, unknown>)[key];
    return typeof found === "function" ? (found.bind(value) as unknown) : found;
  }, from);
}
