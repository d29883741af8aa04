/** The page's program: follows the stream and draws what it says, at most once a frame. */
import { render } from "preact";
import type { MapDelta, MapSnapshot } from "../wire.ts";
import { App } from "./app.tsx";
import { Mirror } from "./mirror.ts";

const mirror = new Mirror();
const root = document.getElementById("app") as HTMLElement;
let connected = false;
let asked = false;

function show(): void {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    document.title = mirror.title === "" ? "Skylane" : `Skylane: ${mirror.title}`;
    render(<App mirror={mirror} connected={connected} />, root);
  });
}

const stream = new EventSource("stream");
stream.addEventListener("all", ({ data }: MessageEvent<string>) => {
  connected = true;
  mirror.all(JSON.parse(data) as MapSnapshot, Date.now());
  show();
});
stream.addEventListener("change", ({ data }: MessageEvent<string>) => {
  mirror.change(JSON.parse(data) as MapDelta, Date.now());
  show();
});
// It connects again by itself, and gets everything anew then.
stream.addEventListener("error", () => {
  connected = false;
  show();
});
// Times that are shown as "… ago" pass.
setInterval(show, 5_000);
show();
