/**
 * What texts were parsed to, for as long as they are likely to be read again: whoever reads one of many networks' entries
 * in an annotation is followed by those who read the others. Bounded by the length of the texts, in two generations: when
 * the young one is full it becomes the old one, and what is read again comes back. Short texts are not kept: parsing them
 * costs about what finding them does, and most nodes of most clusters have such.
 */

/** Texts under this length are parsed each time, in characters. */
const SHORT = 1_024;
/** How much text a generation holds, in characters. */
const GENERATION = 2 << 20;

/** Values by the texts that they come from. They are shared by all who ask, so they must not be changed. */
export class TextCache<T> {
  #young = new Map<string, T>();
  #old = new Map<string, T>();
  #length = 0;

  /** The value of a text, parsed where it is not at hand; what `parse` throws is thrown, each time anew. */
  get(text: string, parse: (text: string) => T): T {
    if (text.length < SHORT) return parse(text);
    const known = this.#young.get(text);
    if (known !== undefined) return known;
    const value = this.#old.get(text) ?? parse(text);
    if (this.#length + text.length > GENERATION) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#length = 0;
    }
    this.#young.set(text, value);
    this.#length += text.length;
    return value;
  }
}
