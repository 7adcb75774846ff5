import assert from "node:assert/strict";
import { test } from "node:test";

import { Code, RapportError } from "../src/index.js";
import { backoffMs, Budget, DEFAULT_RETRY } from "../src/retry.js";
import { failure, fakeRapport } from "../src/testing.js";

const QUICK = { initialBackoffMs: 1, maxBackoffMs: 2 };
const away = () => failure(Code.Unavailable, "UNAVAILABLE", { retryAfterMs: 1 });

test("a read is tried three times, under one request id", async () => {
  const ids: (string | null)[] = [];
  const rapport = fakeRapport(
    {
      profile: {
        getProfile(_request, context) {
          ids.push(context.requestHeader.get("x-request-id"));
          if (ids.length < 3) throw away();
          return { profile: { customerId: "c" } };
        },
      },
    },
    { retry: QUICK },
  );
  const { profile } = await rapport.profile.getProfile({ customerId: "c" });
  assert.equal(profile?.customerId, "c");
  assert.equal(ids.length, 3);
  assert.equal(new Set(ids).size, 1);
});

test("the third failure is the caller's", async () => {
  let calls = 0;
  const getProfile = () => {
    calls += 1;
    throw away();
  };
  const rapport = fakeRapport({ profile: { getProfile } }, { retry: QUICK });
  await assert.rejects(rapport.profile.getProfile({ customerId: "c" }), { code: Code.Unavailable, reason: "UNAVAILABLE" });
  assert.equal(calls, 3);
});

test("a write is repeated under one id of its own, which the caller may choose", async () => {
  const seen: string[] = [];
  const createDemand = ({ requestId }: { requestId: string }) => {
    seen.push(requestId);
    if (seen.length % 2) throw away();
    return { demand: { demandId: "d" } };
  };
  const rapport = fakeRapport({ routing: { createDemand } }, { retry: QUICK });
  const request = { customerId: "c", kind: "lead" };
  await rapport.routing.createDemand(request);
  await rapport.routing.createDemand({ ...request, requestId: "mine" });
  const [first, second, third, fourth] = seen;
  assert.match(first ?? "", /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(second, first);
  assert.deepEqual([third, fourth], ["mine", "mine"]);
  assert.deepEqual(request, { customerId: "c", kind: "lead" }, "the caller's object stays as it is");
});

test("what might be done twice is not repeated", async () => {
  // The contracts call every method that exists today safe to repeat, or give it a request id.
  const { isRepeatable } = await import("../src/retry.js");
  const { services } = await import("../src/index.js");
  const { MethodOptions_IdempotencyLevel: Level } = await import("@bufbuild/protobuf/wkt");
  const { createDemand } = services.routing.method;
  assert.equal(createDemand.idempotency, Level.IDEMPOTENCY_UNKNOWN);
  assert.equal(isRepeatable(createDemand, false), false);
  assert.equal(isRepeatable(createDemand, true), true);
  assert.equal(isRepeatable(services.routing.method.setPresence, false), true);
});

test("only what time heals is repeated", async () => {
  for (const error of [
    failure(Code.ResourceExhausted, "MESSAGE_TOO_LARGE"),
    failure(Code.InvalidArgument, "INVALID_FIELD"),
    failure(Code.Aborted, "CONFLICT"),
    failure(Code.Internal, "INTERNAL"),
  ]) {
    let calls = 0;
    const getProfile = () => {
      calls += 1;
      throw error;
    };
    const rapport = fakeRapport({ profile: { getProfile } }, { retry: QUICK });
    await assert.rejects(rapport.profile.getProfile({}), RapportError);
    assert.equal(calls, 1, error.message);
  }
  let calls = 0;
  const overloaded = () => {
    calls += 1;
    if (calls === 1) throw failure(Code.ResourceExhausted, "OVERLOADED", { retryAfterMs: 40 });
    return {};
  };
  const rapport = fakeRapport({ profile: { getProfile: overloaded } }, { retry: QUICK });
  const started = performance.now();
  await rapport.profile.getProfile({});
  assert.equal(calls, 2);
  assert.ok(performance.now() - started >= 39, "waits as long as the server asks");
});

test("a failing server is spared: beyond the budget nothing is repeated", async () => {
  let calls = 0;
  let isUp = false;
  const getProfile = () => {
    calls += 1;
    if (!isUp) throw away();
    return {};
  };
  const rapport = fakeRapport({ profile: { getProfile } }, { retry: { ...QUICK, budgetTokens: 10 } });
  for (let call = 0; call < 20; call += 1) await assert.rejects(rapport.profile.getProfile({}));
  assert.equal(calls, 23, "20 calls and 3 retries: from 10 tokens down to half of them");
  isUp = true;
  for (let call = 0; call < 100; call += 1) await rapport.profile.getProfile({});
  isUp = false;
  calls = 0;
  await assert.rejects(rapport.profile.getProfile({}));
  assert.equal(calls, 3, "100 successes have refilled it");
});

test("successes pay for a tenth as many retries", () => {
  const budget = new Budget({ ...DEFAULT_RETRY, budgetTokens: 10 });
  while (budget.failed());
  let retries = 0;
  for (let round = 0; round < 100; round += 1) {
    for (let success = 0; success < 10; success += 1) budget.succeeded();
    if (budget.failed()) retries += 1;
  }
  assert.ok(retries <= 100, `${retries} retries for 1,000 successes`);
});

test("waits grow, are spread, and keep to the server's wish", () => {
  const ceilings = [1, 2, 3, 4, 5, 6].map((attempt) => backoffMs(DEFAULT_RETRY, attempt, undefined, 1));
  assert.deepEqual(ceilings, [100, 200, 400, 800, 1600, 2000]);
  assert.equal(backoffMs(DEFAULT_RETRY, 1, undefined, 0), 0);
  assert.equal(backoffMs(DEFAULT_RETRY, 1, 500, 0.5), 550);
});

test("no retry is made that the deadline would cut off", async () => {
  let calls = 0;
  const getProfile = () => {
    calls += 1;
    throw failure(Code.Unavailable, "UNAVAILABLE", { retryAfterMs: 60_000 });
  };
  const rapport = fakeRapport({ profile: { getProfile } });
  const started = performance.now();
  await assert.rejects(rapport.profile.getProfile({}, { timeoutMs: 1_000 }), { code: Code.Unavailable });
  assert.equal(calls, 1);
  assert.ok(performance.now() - started < 900);
});
