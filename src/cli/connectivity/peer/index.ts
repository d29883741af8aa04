/** `skylanectl connectivity peer`: what runs in the pods of the test, and on nodes in the agents' containers; the test itself starts it. */
import { type Command, CommandError, UsageError } from "../../command.ts";
import { isToken, parseHeard, parseQuestions, PEER_PORT } from "./questions.ts";

const MOST_INPUT = 1 << 20;
/** How long the questions may take to arrive, and the heard keys to be told. */
const ARRIVAL_MS = 30_000;

/** The first line of standard input. @throws CommandError when there is none in time */
function firstLine(): Promise<string> {
  const { stdin } = process;
  return new Promise((resolve, reject) => {
    let text = "";
    const timer = setTimeout(() => reject(new CommandError(`no question within ${ARRIVAL_MS} ms`)), ARRIVAL_MS);
    const end = (line: string): void => {
      clearTimeout(timer);
      stdin.pause();
      resolve(line);
    };
    stdin.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      const line = text.indexOf("\n");
      if (line >= 0) end(text.slice(0, line));
      else if (text.length > MOST_INPUT) end("");
    });
    stdin.on("end", () => end(text));
  });
}

/** Prints and ends: a name that is still being resolved in the C library would keep the process for half a minute. */
const finish = (value: unknown): Promise<never> =>
  new Promise(() => process.stdout.write(`${JSON.stringify(value)}\n`, () => process.exit(0)));

const actions: Readonly<Record<string, (name: string, token: string | undefined) => Promise<number>>> = {
  async serve(name, token) {
    if (!isToken(token)) throw new UsageError("--token is missing, or is no token");
    const { podMtu, serve } = await import("./serve.ts");
    await using _peer = await serve({ name, token, port: PEER_PORT, mtu: podMtu() });
    // The first process of a container has no handler by itself, and would have to be killed.
    await new Promise<void>((resolve) => {
      for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
    });
    return 0;
  },
  async ask() {
    const [{ ask }, { podMtu }] = await Promise.all([import("./ask.ts"), import("./serve.ts")]);
    return await finish(await ask(parseQuestions(await firstLine()), podMtu()));
  },
  async heard() {
    const answer = await fetch(`http://127.0.0.1:${PEER_PORT}/heard`, { signal: AbortSignal.timeout(ARRIVAL_MS) });
    return await finish([...parseHeard(await answer.text())]);
  },
};

/** The command. */
export const peerCommand: Command = {
  words: ["connectivity", "peer"],
  summary: "One end of a connectivity test, in the test's own pods",
  operands: "serve|ask|heard",
  count: [1, 1],
  hidden: true,
  options: {
    name: { value: "NAME", help: "of the pod" },
    token: { value: "HEX", help: "what datagrams of this test begin with" },
  },
  details: `serve listens on port ${PEER_PORT} until SIGTERM, ask tries what standard input says in a line of JSON, heard prints which datagrams this pod has got.`,
  async run(input) {
    const action = actions[input.operands[0] as string];
    if (!action) throw new UsageError("say serve, ask or heard");
    return await action(input.text("name") ?? "", input.text("token"));
  },
};
