/**
 * Against a running suite: `RAPPORT_URL`, `TOKEN` (of a tenant without anything) and `READER` (a token
 * of the same tenant that may only read profiles). `tests/tests/it/clients.rs` starts both.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Code, createRapport, paginate, RapportError, type Rapport, watch } from "../src/index.js";
import { connect as connectWeb } from "../src/platform-web.js";
import { EventType } from "../src/schema/profile.js";
import { OfferState } from "../src/schema/routing.js";
import { Proxy } from "./proxy.js";

const baseUrl = setting("RAPPORT_URL");
const token = setting("TOKEN");
const rapport = createRapport({ baseUrl, token });

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

async function ingest(client: Rapport, messageId: string, user: string): Promise<{ customerId: string; profileVersion: bigint }> {
  const identifiers = [{ namespace: "user_id", value: user }];
  const events = [{ messageId, type: EventType.TRACK, name: "Seen", identifiers }];
  const { results } = await client.profile.ingestEvents({ events });
  const [result] = results;
  assert.ok(result?.customerId, JSON.stringify(result?.violations));
  return result;
}

test("errors say reason, fields and request id", async () => {
  const wrong = await rapport.profile
    .ingestEvents({ events: Array.from({ length: 501 }, () => ({})) })
    .catch((error: unknown) => error);
  assert.ok(wrong instanceof RapportError, String(wrong));
  assert.deepEqual([wrong.code, wrong.reason], [Code.InvalidArgument, "INVALID_FIELD"]);
  assert.equal(wrong.violations[0]?.field, "events");
  assert.match(wrong.requestId ?? "", /^[0-9a-f-]{36}$/);

  const absent = { customerId: "00000000-0000-4000-8000-000000000000" };
  await assert.rejects(rapport.profile.getProfile(absent), { code: Code.NotFound, reason: "NOT_FOUND" });

  const reader = createRapport({ baseUrl, token: setting("READER") });
  await assert.rejects(reader.routing.listTeams({}), { code: Code.PermissionDenied, reason: "SCOPE_MISSING" });
  const stranger = createRapport({ baseUrl, token: "nonsense" });
  await assert.rejects(stranger.routing.listTeams({}), { code: Code.Unauthenticated, reason: "TOKEN_INVALID" });
});

test("a deadline is kept", async () => {
  const { customerId, profileVersion } = await ingest(rapport, "deadline-1", "deadline");
  const started = performance.now();
  const future = { customerId, atLeastVersion: profileVersion + 1_000n };
  await assert.rejects(rapport.profile.getProfile(future, { timeoutMs: 300 }), { code: Code.DeadlineExceeded });
  assert.ok(performance.now() - started < 3_000);
});

test("pages come to an end and hold everything once", async () => {
  const names = Array.from({ length: 7 }, (_, index) => `page-${index}`);
  for (const name of names) await rapport.routing.upsertTeam({ team: { name } });
  const seen: string[] = [];
  for await (const team of paginate(rapport.routing.listTeams, { pageSize: 3 })) seen.push(team.name);
  assert.deepEqual(seen.filter((name) => name.startsWith("page-")), names);
});

const transports: [string, string, (url: string) => Rapport][] = [
  ["gRPC", baseUrl, (url) => createRapport({ baseUrl: url, token })],
  ["gRPC-Web", setting("RAPPORT_HTTP"), (url) => createRapport({ transport: connectWeb(url, []), token })],
];

for (const [name, target, connectTo] of transports) {
  test(`a watch over ${name} through a connection that breaks shows each change once`, async () => {
    const proxy = await Proxy.start(target);
    const remote = connectTo(proxy.url);
    const user = `watched-${name}`;
    const { customerId, profileVersion } = await ingest(rapport, "first", user);
    const stop = new AbortController();
    const changes = watch(remote.profile.watchProfiles, { customerIds: [customerId] }, { maxBackoffMs: 50, signal: stop.signal });
    const versions: bigint[] = [];
    const next = async () => {
      const { value } = await changes.next();
      if (value?.change.case === "profile") versions.push(value.change.value.version);
    };
    // A watch from now on has begun when it shows something: until then something happens.
    let latest = profileVersion;
    let seen = next();
    for (let round = 1; !(await within(seen, 50)); round += 1) {
      latest = (await ingest(rapport, `opening-${round}`, user)).profileVersion;
    }
    while (versions.at(-1)! < latest) await next();
    for (let round = 1; round <= 5; round += 1) {
      proxy.cut();
      seen = next();
      latest = (await ingest(rapport, `round-${round}`, user)).profileVersion;
      await seen;
      assert.equal(versions.at(-1), latest);
    }
    assert.deepEqual(versions, versions.map((_, index) => versions[0]! + BigInt(index)), "none twice, none left out");
    assert.ok(proxy.connections >= 6, "each cut made a new connection");
    stop.abort();
    await proxy.stop();
  });
}

test("a write whose answer is lost happens once", async () => {
  const proxy = await Proxy.start(baseUrl);
  const remote = createRapport({ baseUrl: proxy.url, token, retry: { initialBackoffMs: 10 } });
  const { customerId } = await ingest(rapport, "once-1", "once");
  await rapport.routing.upsertPolicy({ policy: { name: "default" } });
  await remote.routing.listTeams({});
  proxy.loseNextAnswer();
  const { demand } = await remote.routing.createDemand({ customerId, kind: "lead", requiredSkills: ["nobody-has"] });
  assert.equal(proxy.lost, 1);
  const ids: string[] = [];
  for await (const { demandId } of paginate(rapport.routing.listDemands, { customerId })) ids.push(demandId);
  assert.deepEqual(ids, [demand?.demandId]);
  await proxy.stop();
});

test("a browser's transport calls and fails through the gateway", async () => {
  const web = createRapport({ transport: connectWeb(setting("RAPPORT_HTTP"), []), token });
  const { customerId, profileVersion } = await ingest(web, "web-1", "web");
  const { profile } = await web.profile.getProfile({ customerId, atLeastVersion: profileVersion });
  assert.equal(profile?.totalEvents, 1n);
  const wrong = await web.routing.createDemand({ customerId: "nobody", kind: "lead" }).catch((error: unknown) => error);
  assert.ok(wrong instanceof RapportError, String(wrong));
  assert.deepEqual([wrong.code, wrong.reason, wrong.violations[0]?.field], [Code.InvalidArgument, "INVALID_FIELD", "customer_id"]);
});

/** Whether it is settled so soon. */
async function within(promise: Promise<unknown>, milliseconds: number): Promise<boolean> {
  const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), milliseconds));
  return Promise.race([promise.then(() => true), late]);
}

test("the examples run", async () => {
  await import("../examples/quickstart.js");
  await import("../examples/errors.js");
  await import("../examples/testing.js");
});

test("an agent's desk works on what it is offered", async () => {
  await rapport.routing.upsertTeam({ team: { name: "sales" } });
  await rapport.routing.upsertAgent({ agent: { name: "li-na", team: "sales", capacity: 5 } });
  await rapport.routing.upsertPolicy({ policy: { name: "default" } });
  const { customerId } = await ingest(rapport, "desk-1", "desk");
  const { demand } = await rapport.routing.createDemand({ customerId, kind: "lead" });
  await import("../examples/desk.js");
  const { demand: closed } = await rapport.routing.getDemand({ demandId: demand?.demandId ?? "" });
  assert.equal(closed?.value?.units, 1299n);

  // A watch that begins now shows what is still open, and that is nothing.
  const { offer } = await firstOffer(customerId);
  assert.equal(offer.state, OfferState.PENDING);
});

async function firstOffer(customerId: string) {
  await rapport.routing.createDemand({ customerId, kind: "lead" });
  for await (const change of watch(rapport.routing.watchOffers, { agent: "li-na" })) return change;
  throw new Error("the watch ended");
}
