/** Answers of DNS servers, read for the addresses that a name has. What is read may come from anybody. */
export { type DnsAnswer, readAnswer } from "./answer.ts";
