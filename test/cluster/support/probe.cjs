// Runs inside test pods, on the Node of Skylane's image: an echo server for TCP and UDP that tells each caller the
// address it was seen with, and the clients that measure.
//
//   probe.cjs serve                          TCP and UDP echo on port 7000, both families
//   probe.cjs tcp PORT BYTES ADDRESS…        sends to each, one after the other, and compares what comes back; prints
//   probe.cjs udp PORT BYTES ADDRESS…        JSON, a line an address; udp sends three times
//   probe.cjs watch ADDRESS…                 a connection to each, with a line every 100 ms; twice a second prints how
//                                            long each was without an answer, and whether it broke
const net = require("node:net");
const dgram = require("node:dgram");
const { once } = require("node:events");
const { randomBytes } = require("node:crypto");

const plain = (address) => (address ?? "").replace(/^::ffff:/, "");
const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const LIMIT_MS = 5000;
const DATAGRAMS = 3;

const commands = {
  serve() {
    net
      .createServer((socket) => {
        socket.on("error", () => socket.destroy());
        socket.write(`${plain(socket.remoteAddress)}\n`);
        socket.pipe(socket);
      })
      .listen(7000, "::");
    const udp = dgram.createSocket({ type: "udp6", ipv6Only: false });
    udp.on("message", (data, from) => {
      const seen = Buffer.from(`${plain(from.address)}\n`);
      udp.send(Buffer.concat([seen, data]).subarray(0, Math.max(data.length, seen.length)), from.port, from.address);
    });
    udp.bind(7000, "::");
    process.on("SIGTERM", () => process.exit(0));
  },

  async tcp(port, bytes, ...addresses) {
    for (const address of addresses) {
      const sent = randomBytes(Number(bytes));
      const socket = net.connect({ host: address, port: Number(port) });
      const timer = setTimeout(() => fail(`no answer from ${address} in ${LIMIT_MS} ms`), LIMIT_MS);
      let received = Buffer.alloc(0);
      socket.on("error", (error) => fail(`${address}: ${error.message}`));
      socket.on("connect", () => socket.write(sent));
      socket.on("data", (data) => {
        received = Buffer.concat([received, data]);
        const line = received.indexOf("\n");
        if (line < 0 || received.length < line + 1 + sent.length) return;
        clearTimeout(timer);
        if (!received.subarray(line + 1).equals(sent)) fail(`what came back from ${address} is not what was sent`);
        print({ address, seenAs: received.subarray(0, line).toString(), bytes: sent.length });
        socket.destroy();
      });
      await once(socket, "close");
    }
  },

  async udp(port, bytes, ...addresses) {
    for (const address of addresses) {
      const socket = dgram.createSocket(net.isIPv6(address) ? "udp6" : "udp4");
      let seenAs;
      let answers = 0;
      socket.on("message", (data) => {
        seenAs = data.subarray(0, data.indexOf("\n")).toString();
        if (++answers === DATAGRAMS) socket.close();
        else send();
      });
      const failed = (error) => error && fail(`${address}: ${error.message}`);
      const send = () => socket.send(randomBytes(Number(bytes)), Number(port), address, failed);
      const late = () => fail(`${answers} of ${DATAGRAMS} answers from ${address} in ${LIMIT_MS} ms`);
      const timer = setTimeout(late, LIMIT_MS);
      send();
      await once(socket, "close");
      clearTimeout(timer);
      print({ address, seenAs, answers, bytes: Number(bytes) });
    }
  },

  watch(...addresses) {
    const windows = new Map();
    const open = (address) => {
      const state = { sent: 0, echoes: 0, last: Date.now(), longest: 0, closed: 0 };
      windows.set(address, state);
      const socket = net.connect({ host: address, port: 7000, noDelay: true });
      socket.on("connect", () => setInterval(() => socket.write(`${state.sent++}\n`), 100));
      socket.on("error", () => state.closed++);
      socket.on("close", () => state.closed++);
      socket.on("data", () => {
        state.echoes++;
        state.longest = Math.max(state.longest, Date.now() - state.last);
        state.last = Date.now();
      });
    };
    for (const address of addresses) open(address);
    setInterval(() => {
      const connections = [...windows].map(([address, state]) => {
        const gapMs = Math.max(state.longest, Date.now() - state.last);
        state.longest = 0;
        return { address, gapMs, closed: state.closed > 0 };
      });
      print({ at: Date.now(), connections });
    }, 500);
    process.on("SIGTERM", () => process.exit(0));
  },
};

function fail(message) {
  print({ error: message });
  process.exit(1);
}

const [name, ...args] = process.argv.slice(2);
commands[name](...args);
