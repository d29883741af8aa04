/** The page's program: follows the stream and draws what it says, at most once a frame. */
import { render } from "preact";
import { App } from "./app.tsx";
import { Inbox, type Kind } from "./inbox.ts";
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
    render(<App mirror={mirror} connected={connected} share={inbox.share} />, root);
  });
}

// A page that nobody looks at has no frames, and timers that wait for long; messages go on.
const turns = new MessageChannel();
turns.port1.start();
const inbox = new Inbox(
  {
    all(snapshot, clock) {
      connected = true;
      mirror.all(snapshot, clock);
    },
    change: (delta, clock) => mirror.change(delta, clock),
  },
  show,
  (turn) => {
    turns.port1.addEventListener("message", turn, { once: true });
    turns.port2.postMessage(undefined);
  },
);
const stream = new EventSource("stream");
for (const kind of ["all", "change", "part"] satisfies Kind[])
  stream.addEventListener(kind, ({ data }: MessageEvent<string>) => inbox.push(kind, data, Date.now()));
// It connects again by itself, and gets everything anew then.
stream.addEventListener("error", () => {
  connected = false;
  show();
});
// Times that are shown as "… ago" pass.
setInterval(show, 5_000);
show();
