// Runs inside test pods, on the Node of Skylane's image: an echo server for TCP and UDP that tells each caller the
// address it was seen with, and the clients that measure.
//
//   probe.cjs serve                          TCP and UDP echo on port 7000, both families
//   probe.cjs tcp PORT BYTES ADDRESS…        sends to each, one after the other, and compares what comes back; prints
//   probe.cjs udp PORT BYTES ADDRESS…        JSON, a line an address; udp sends three times
//   probe.cjs reach TARGET…                  one try at each, all at once; tcp,ADDRESS,PORT or udp,ADDRESS,PORT; prints
//                                            JSON, a line a target: as whom it was seen, or what came instead
//   probe.cjs sweep PREFIX                   a datagram to port 7000 of each of the 254 addresses below PREFIX
//                                            (10.244.1), ten times a second
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
/** How long a try may be without an answer: a first segment that was lost is sent again after one second. */
const SILENCE_MS = 2500;
const SWEEP_MS = 100;

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

  async reach(...targets) {
    const each = targets.map(async (target) => {
      const [protocol, address, port] = target.split(",");
      print({ target, ...(await tries[protocol](address, Number(port))) });
    });
    await Promise.all(each);
  },

  sweep(prefix) {
    const socket = dgram.createSocket("udp4");
    const addresses = Array.from({ length: 254 }, (_, i) => `${prefix}.${i + 1}`);
    // where nothing has the address, nobody is told
    setInterval(() => addresses.forEach((address) => socket.send("sweep", 7000, address, () => {})), SWEEP_MS);
    process.on("SIGTERM", () => process.exit(0));
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

/** One try: resolves to `{ seenAs }`, or to `{ instead }`, the error or "silence". */
const tries = {
  tcp: (address, port) =>
    one((done) => {
      const socket = net.connect({ host: address, port });
      socket.on("error", (error) => done({ instead: error.code }));
      socket.on("data", (data) => done({ seenAs: data.toString().split("\n", 1)[0] }));
      return () => socket.destroy();
    }),
  udp: (address, port) =>
    one((done) => {
      const socket = dgram.createSocket(net.isIPv6(address) ? "udp6" : "udp4");
      socket.on("error", (error) => done({ instead: error.code }));
      socket.on("message", (data) => done({ seenAs: data.toString().split("\n", 1)[0] }));
      // connected, so that it is told when nobody listens
      socket.connect(port, address, () => socket.send("\n".repeat(64)));
      return () => socket.close();
    }),
};

async function one(begin) {
  let end;
  let timer;
  const result = await new Promise((resolve) => {
    timer = setTimeout(resolve, SILENCE_MS, { instead: "silence" });
    end = begin(resolve);
  });
  clearTimeout(timer);
  end();
  return result;
}

function fail(message) {
  print({ error: message });
  process.exit(1);
}

const [name, ...args] = process.argv.slice(2);
commands[name](...args);
