import assert from "node:assert/strict";
import { test } from "node:test";

import { Code, ResumeTokenExpired, watch } from "../src/index.js";
import { failure, fakeRapport } from "../src/testing.js";

type Answer = { resumeToken: string; offer?: { offerId: string } };

const offer = (number: number): Answer => ({ resumeToken: String(number), offer: { offerId: `o${number}` } });
const heartbeat = (number: number): Answer => ({ resumeToken: String(number) });
const away = (metadata: Record<string, string> = {}) => failure(Code.Unavailable, "UNAVAILABLE", { retryAfterMs: 1, metadata });

/** Plays one script per connection; the last one is played again for further ones. */
function stage(...scripts: (Answer | Error | "silence" | "end")[][]) {
  const resumed: string[] = [];
  const signals: AbortSignal[] = [];
  const rapport = fakeRapport({
    routing: {
      async *watchOffers({ resumeToken }, context) {
        const script = scripts[Math.min(resumed.length, scripts.length - 1)] ?? [];
        resumed.push(resumeToken);
        signals.push(context.signal);
        for (const step of script) {
          if (step instanceof Error) throw step;
          if (step === "end") return;
          if (step === "silence") await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
          else yield step;
        }
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      },
    },
  });
  return { rapport, resumed, open: () => signals.filter((signal) => !signal.aborted).length };
}

test("a watch resumes where it was interrupted, and shows no heartbeat", async () => {
  const { rapport, resumed } = stage(
    [heartbeat(1), offer(2), heartbeat(3), away()],
    [away()],
    [offer(4), "end"],
    [offer(5)],
  );
  const seen: string[] = [];
  const interruptions: number[] = [];
  const onInterrupted = ({ code }: { code: Code }) => interruptions.push(code);
  for await (const change of watch(rapport.routing.watchOffers, { agent: "li-na" }, { onInterrupted, maxBackoffMs: 5 })) {
    seen.push(change.offer.offerId);
    if (change.resumeToken === "5") break;
  }
  assert.deepEqual(seen, ["o2", "o4", "o5"]);
  assert.deepEqual(resumed, ["", "3", "3", "4"]);
  assert.deepEqual(interruptions, [Code.Unavailable, Code.Unavailable, Code.Unavailable]);
});

test("a drain before the first answer loses nothing: its error names the place", async () => {
  const { rapport, resumed } = stage([away({ resume_token: "7" })], [offer(8)]);
  for await (const change of watch(rapport.routing.watchOffers, {}, { maxBackoffMs: 5 })) {
    assert.equal(change.offer.offerId, "o8");
    break;
  }
  assert.deepEqual(resumed, ["", "7"]);
});

test("silence counts as a lost connection", async () => {
  const { rapport, resumed } = stage([offer(1), "silence"], [offer(2)]);
  const seen: string[] = [];
  for await (const { offer } of watch(rapport.routing.watchOffers, {}, { silenceMs: 30, maxBackoffMs: 5 })) {
    seen.push(offer.offerId);
    if (seen.length === 2) break;
  }
  assert.deepEqual(seen, ["o1", "o2"]);
  assert.deepEqual(resumed, ["", "1"]);
});

test("a token that is too old is an error of its own", async () => {
  const { rapport } = stage([failure(Code.OutOfRange, "FEED_TRUNCATED")]);
  const changes = watch(rapport.routing.watchOffers, { resumeToken: "old" });
  await assert.rejects(changes.next(), (error: unknown) => {
    assert.ok(error instanceof ResumeTokenExpired);
    assert.deepEqual([error.code, error.reason], [Code.OutOfRange, "FEED_TRUNCATED"]);
    return true;
  });
});

test("what time does not heal ends the watch", async () => {
  const { rapport, resumed } = stage([failure(Code.PermissionDenied, "SCOPE_MISSING")]);
  await assert.rejects(watch(rapport.routing.watchOffers, {}).next(), { reason: "SCOPE_MISSING" });
  assert.equal(resumed.length, 1);
});

test("an abort ends the loop, and the call behind it", async () => {
  const { rapport, open } = stage([offer(1)]);
  const desk = new AbortController();
  let seen = 0;
  for await (const _change of watch(rapport.routing.watchOffers, {}, { signal: desk.signal })) {
    seen += 1;
    setTimeout(() => desk.abort(), 5);
  }
  assert.equal(seen, 1);
  await settled(open);
});

test("leaving the loop ends the call behind it", async () => {
  const { rapport, open } = stage([offer(1)]);
  for await (const _change of watch(rapport.routing.watchOffers, {})) break;
  await settled(open);
});

/** The server hears of the end a little later. */
async function settled(open: () => number): Promise<void> {
  const deadline = Date.now() + 2_000;
  while (open() > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(open(), 0);
}
