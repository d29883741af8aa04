import assert from "node:assert/strict";
import { Metrics } from "../../../src/observe/index.ts";

describe("the metrics of the fast path", () => {
  it("are the kernel's own counters, taken over at each scrape", async () => {
    const metrics = new Metrics("0.0.0");
    let packets = 5;
    metrics.beforeScrape(() =>
      metrics.sampleFastPaths([
        { network: "blue" },
        {
          network: "default",
          fastPath: {
            on: true,
            message: "",
            pods: 1,
            prefixes: 1,
            ordinary: [],
            packets: [{ from: "pod", path: "fast", outcome: "sent", packets }],
          },
        },
      ]),
    );
    await metrics.text();
    packets = 7;
    const text = await metrics.text();
    assert.match(text, /^skylane_fast_path_on\{network="default"\} 1$/m);
    assert.match(
      text,
      /^skylane_fast_path_packets_total\{network="default",from="pod",path="fast",outcome="sent"\} 7$/m,
    );
  });
});
