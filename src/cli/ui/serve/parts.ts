/**
 * What is sent in parts: a page that reads all of a large cluster at once shows nothing else for as long as that takes. A part is a change of its own
 * with some of the things that are in lists; what is not in lists is in the first one.
 */
import { LISTS, type MapDelta, type MapSnapshot } from "../wire.ts";

/** Characters of a part, but where one thing alone has more. */
export const PART = 64 << 10;

/** Each part as JSON, a {@link MapPart}. */
export function inParts(change: MapSnapshot | MapDelta): string[] {
  const rest: Record<string, unknown> = { ...change };
  for (const list of LISTS) delete rest[list];
  const bodies: string[] = [];
  let body = JSON.stringify(rest).slice(1, -1);
  for (const list of LISTS) {
    let open = false;
    for (const one of change[list] ?? []) {
      const text = JSON.stringify(one);
      if (body !== "" && body.length + text.length > PART) {
        bodies.push(open ? `${body}]` : body);
        [body, open] = ["", false];
      }
      body += open ? `,${text}` : `${body === "" ? "" : ","}"${list}":[${text}`;
      open = true;
    }
    if (open) body += "]";
  }
  bodies.push(body);
  return bodies.map((one, i) => `{"more":${bodies.length - 1 - i}${one === "" ? "" : `,${one}`}}`);
}
