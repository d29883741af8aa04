/**
 * The logger. winston carries the entries; what a line looks like is in render.ts. A disabled level costs one
 * comparison, since it is looked at before winston is. Lines go to standard error: standard output belongs to
 * results. A reader that stops reading must stop neither the agent nor eat its memory, so lines beyond a bounded
 * backlog are dropped and counted, and a closed pipe is no reason to die.
 */
import { Writable } from "node:stream";
import winston from "winston";
import { type Entry, type Fields, renderJson, renderText } from "./render.ts";

export type { Fields } from "./render.ts";

/** Levels from the most to the least important. */
export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** How a line looks: for people, or one JSON object. */
const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** What code that logs needs. Put errors into the fields (`{ error }`): they are printed with their causes. */
export interface Logger {
  error(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  debug(message: string, fields?: Fields): void;
  /** A logger that adds these fields to every line. */
  child(fields: Fields): Logger;
  /** Whether a line of that level would be written: ask before building costly fields. */
  enabled(level: LogLevel): boolean;
}

/** The logger that owns the output. */
export interface RootLogger extends Logger {
  /** Least important level that is written, by this logger and by all its children; may be set at any time. */
  level: LogLevel;
  /**
   * Resolves when every line so far has left the process, or after `timeoutMs` when nobody reads.
   * Call it last and set `process.exitCode`; `process.exit()` would lose what is still in the pipe.
   */
  drain(timeoutMs?: number): Promise<void>;
}

export interface LoggerOptions {
  level: LogLevel;
  format: LogFormat;
  /** Fields of every line, such as the node's name. */
  base?: Fields;
  /** Where lines go; standard error when absent. */
  stream?: Writable;
  /** Milliseconds since the epoch; for tests. */
  now?: () => number;
}

const MAX_BACKLOG_BYTES = 1 << 20;

/** The end of winston's pipe: hands lines to a stream within a bounded backlog. */
class LineWriter extends Writable {
  private readonly target: Writable;
  private readonly render: (entry: Entry) => string;
  private dropped = 0;
  private broken = false;

  constructor(target: Writable, render: (entry: Entry) => string) {
    super({ objectMode: true });
    this.target = target;
    this.render = render;
    target.on("error", () => {
      this.broken = true;
    });
  }

  override _write(info: { entry: Entry }, _encoding: string, done: () => void): void {
    const { entry } = info;
    if (this.broken || this.target.destroyed || this.target.writableLength > MAX_BACKLOG_BYTES) this.dropped++;
    else {
      if (this.dropped > 0) {
        const fields = { dropped: this.dropped };
        this.put({ time: entry.time, level: "warn", message: "log lines were dropped: nobody read them", fields });
      }
      this.dropped = 0;
      this.put(entry);
    }
    done();
  }

  private put(entry: Entry): void {
    this.target.write(`${this.render(entry)}\n`);
  }

  flushed(timeoutMs: number): Promise<void> {
    if (this.broken || this.target.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.target.write("", () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

/** A logger of its own output. Two of them must not share a stream other than a standard one. */
export function createLogger(options: LoggerOptions): RootLogger {
  const writer = new LineWriter(options.stream ?? process.stderr, options.format === "json" ? renderJson : renderText);
  const levels = Object.fromEntries(LOG_LEVELS.map((level, rank) => [level, rank]));
  const transport = new winston.transports.Stream({ stream: writer });
  const sink = winston.createLogger({
    levels,
    level: options.level,
    format: winston.format((info) => info)(), // the default would serialise every entry once more
    transports: [transport],
  });
  const now = options.now ?? Date.now;
  let limit = LOG_LEVELS.indexOf(options.level);

  const build = (base: Fields): Logger => {
    const at =
      (level: LogLevel, rank: number) =>
      (message: string, fields?: Fields): void => {
        if (rank > limit) return;
        const entry: Entry = {
          time: now(),
          level,
          message,
          fields: fields === undefined ? base : { ...base, ...fields },
        };
        sink.write({ level, message: "", entry });
      };
    return {
      error: at("error", 0),
      warn: at("warn", 1),
      info: at("info", 2),
      debug: at("debug", 3),
      child: (fields) => build({ ...base, ...fields }),
      enabled: (level) => LOG_LEVELS.indexOf(level) <= limit,
    };
  };

  return {
    ...build(options.base ?? {}),
    get level() {
      return LOG_LEVELS[limit] as LogLevel;
    },
    set level(level) {
      limit = LOG_LEVELS.indexOf(level);
      sink.level = level;
      transport.level = level;
    },
    async drain(timeoutMs = 1000) {
      // winston hands entries on in the same turn unless a burst has filled its queue; wait for that first.
      const deadline = now() + timeoutMs;
      while (sink.writableLength > 0 && now() < deadline) await new Promise(setImmediate);
      await writer.flushed(timeoutMs);
    },
  };
}
