/** Logging for the long-running programs; the only folder that imports `winston`. */
export { errorText } from "./error-text.ts";
export { createLogger, LOG_LEVELS } from "./logger.ts";
export type { Fields, LogFormat, Logger, LoggerOptions, LogLevel, RootLogger } from "./logger.ts";
