/** Colours of the page's style sheet, for what is drawn on a canvas. */
import { PAIR_STATES } from "../wire.ts";

const property = (style: CSSStyleDeclaration, name: string): string => style.getPropertyValue(`--${name}`).trim();

/** As a pixel of an ImageData has it on a machine of little endian. @param text #rrggbb */
function pixel(text: string): number {
  const value = Number.parseInt(text.slice(1), 16);
  return (0xff << 24) | ((value & 0xff) << 16) | (value & 0xff00) | (value >> 16);
}

/** By number of the state; the one behind the last is a node's own pair. */
export function pairColours(element: Element): { css: string[]; pixels: Uint32Array } {
  const style = getComputedStyle(element);
  const css = [...PAIR_STATES.map((state) => property(style, state)), property(style, "self")];
  return { css, pixels: Uint32Array.from(css, pixel) };
}
