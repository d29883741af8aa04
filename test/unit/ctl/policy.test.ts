import assert from "node:assert/strict";
import { parseInput, UsageError } from "../../../src/cli/command.ts";
import { explainRequest, renderExplanation } from "../../../src/cli/policy/index.ts";
import { policyExplainCommand } from "../../../src/cli/policy/explain.ts";
import type { Explanation } from "../../../src/enforcement/index.ts";

const request = (...argv: string[]): Record<string, string> => {
  const path = explainRequest(parseInput(policyExplainCommand, argv));
  assert.ok(path.startsWith("/policies/explain?"));
  return Object.fromEntries(new URLSearchParams(path.slice(path.indexOf("?") + 1)));
};

describe("skylanectl policy explain", () => {
  it("asks about a pod, or a packet to or from it; names without a namespace are of the pod's", () => {
    assert.deepEqual(request("web"), { pod: "default/web" });
    assert.deepEqual(request("shop/web", "--from", "front", "--port", "80"), {
      from: "shop/front",
      to: "shop/web",
      port: "80",
    });
    assert.deepEqual(request("shop/web", "--to", "db/main", "--port", "53", "--protocol", "UDP"), {
      from: "shop/web",
      to: "db/main",
      protocol: "udp",
      port: "53",
    });
    assert.deepEqual(request("web", "--network", "blue"), { pod: "default/web", network: "blue" });
    assert.deepEqual(request("10.0.0.1", "--from", "fd00::1", "--protocol", "icmp"), {
      from: "fd00::1",
      to: "10.0.0.1",
      protocol: "icmp",
    });
  });

  for (const [argv, why] of [
    [["web", "--from", "a", "--to", "b", "--port", "1"], /take --from or --to/],
    [["web", "--port", "80"], /a port needs a peer/],
    [["web", "--from", "a"], /say which --port/],
    [["web", "--from", "a", "--port", "http"], /whole number/],
  ] as const)
    it(`refuses ${argv.join(" ")}`, () => {
      assert.throws(
        () => request(...argv),
        (error) => error instanceof UsageError && why.test(error.message),
      );
    });

  it("shows both ends' verdicts, and where the rules say something else", () => {
    const explanation: Explanation = {
      presence: "some",
      inForce: true,
      message: "network policies are in force",
      packets: [
        {
          source: { ip: "10.0.0.1", who: "pod shop/front" },
          destination: { ip: "10.0.1.1", who: "pod shop/back" },
          protocol: "TCP",
          port: 80,
          allowed: false,
          egress: {
            pod: "shop/front",
            allowed: true,
            why: "no policy says anything about it",
            rules: "on another node",
          },
          ingress: {
            pod: "shop/back",
            allowed: false,
            why: "default deny",
            audit: "x denies it",
            rules: "something else",
          },
        },
      ],
    };
    const text = renderExplanation(explanation);
    assert.match(text, /^Traffic: +TCP port 80$/m);
    assert.match(text, /^Verdict: +it is DENIED$/m);
    assert.match(text, /^Egress: +allowed at pod shop\/front: no policy/m);
    assert.match(text, /^Ingress: +DENIED at pod shop\/back: default deny$/m);
    assert.match(text, /^Ingress, audit mode: +x denies it$/m);
    assert.match(text, /^Ingress, kernel: +BUT THE RULES IN THE KERNEL SAY SOMETHING ELSE/m);
  });

  it("says so where there are no policies", () => {
    const text = renderExplanation({ presence: "none", inForce: false, message: "there are no network policies" });
    assert.equal(text, "there are no network policies: everything passes\n");
  });
});
