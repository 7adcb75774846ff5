import assert from "node:assert/strict";
import { test } from "node:test";

import { Code, createRapport, RapportError } from "../src/index.js";
import { failure, fakeRapport } from "../src/testing.js";

test("each call carries token, request id and trace", async () => {
  const headers: Headers[] = [];
  let issued = 0;
  const rapport = fakeRapport(
    {
      profile: {
        getProfile(_request, context) {
          headers.push(context.requestHeader);
          return {};
        },
      },
    },
    {
      token: async () => `token-${(issued += 1)}`,
      trace: () => ({ traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", tracestate: "a=b" }),
    },
  );
  await rapport.profile.getProfile({});
  await rapport.profile.getProfile({}, { headers: { "x-request-id": "mine" } });
  const [first, second] = headers;
  assert.equal(first?.get("authorization"), "Bearer token-1");
  assert.equal(second?.get("authorization"), "Bearer token-2", "a token may be renewed between calls");
  assert.match(first?.get("x-request-id") ?? "", /^[0-9a-f-]{36}$/);
  assert.equal(second?.get("x-request-id"), "mine");
  assert.equal(first?.get("traceparent"), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  assert.equal(first?.get("tracestate"), "a=b");
});

test("a call has the deadline of its options, its method, or the usual one", async () => {
  const left: (number | undefined)[] = [];
  const note = (_request: unknown, context: { timeoutMs(): number | undefined }) => {
    left.push(context.timeoutMs());
    return {};
  };
  const rapport = fakeRapport(
    { profile: { getProfile: note, getTimeline: note, listTraits: note } },
    { deadlineMs: 5_000, deadlines: { "profile.getTimeline": 60_000, "profile.listTraits": 0 } },
  );
  await rapport.profile.getProfile({});
  await rapport.profile.getTimeline({});
  await rapport.profile.listTraits({});
  await rapport.profile.getTimeline({}, { timeoutMs: 700 });
  const within = (value: number | undefined, limit: number) => value !== undefined && value <= limit && value > limit - 500;
  assert.ok(within(left[0], 5_000), `${left[0]}`);
  assert.ok(within(left[1], 60_000), `${left[1]}`);
  assert.equal(left[2], undefined);
  assert.ok(within(left[3], 700), `${left[3]}`);
});

test("a call that takes too long fails as such", async () => {
  const getProfile = () => new Promise<never>(() => undefined);
  const rapport = fakeRapport({ profile: { getProfile } }, { deadlineMs: 30 });
  await assert.rejects(rapport.profile.getProfile({}), (error: unknown) => {
    assert.ok(error instanceof RapportError);
    assert.equal(error.code, Code.DeadlineExceeded);
    return true;
  });
});

test("an error says what, why, where and when again", async () => {
  const violations = [
    { field: "events[0].message_id", description: "must not be empty" },
    { field: "events[0].type", description: "must be set" },
  ];
  const ingestEvents = () => {
    throw failure(Code.InvalidArgument, "INVALID_FIELD", { message: "2 fields are not valid", violations, retryAfterMs: 1_500 });
  };
  const rapport = fakeRapport({ profile: { ingestEvents } });
  const error = await rapport.profile.ingestEvents({}).catch((thrown: unknown) => thrown);
  assert.ok(error instanceof RapportError);
  assert.equal(error.code, Code.InvalidArgument);
  assert.equal(error.reason, "INVALID_FIELD");
  assert.deepEqual(error.violations, violations);
  assert.equal(error.retryAfterMs, 1_500);
  assert.match(error.requestId ?? "", /^[0-9a-f-]{36}$/);
  assert.match(error.message, /2 fields are not valid/);
});

test("a broken stream fails with the same type", async () => {
  async function* watchProfiles(): AsyncGenerator<{ resumeToken: string }> {
    yield { resumeToken: "1" };
    throw failure(Code.OutOfRange, "FEED_TRUNCATED");
  }
  const rapport = fakeRapport({ profile: { watchProfiles } });
  const read = async () => {
    for await (const _answer of rapport.profile.watchProfiles({}));
  };
  await assert.rejects(read(), (error: unknown) => error instanceof RapportError && error.reason === "FEED_TRUNCATED");
});

test("a refused connection is Unavailable and has no reason", async () => {
  const rapport = createRapport({ baseUrl: "http://127.0.0.1:9", token: "t", retry: { initialBackoffMs: 1, maxBackoffMs: 1 } });
  await assert.rejects(rapport.profile.getProfile({}), { name: "RapportError", code: Code.Unavailable, reason: undefined });
});

test("a mistake in the options is said at once", () => {
  assert.throws(() => createRapport({ token: "t" }), /baseUrl/);
  const deadlines = { "profile.getProfle": 1 } as Record<string, number>;
  assert.throws(() => createRapport({ baseUrl: "http://127.0.0.1:9", token: "t", deadlines }), /no method profile\.getProfle/);
});
