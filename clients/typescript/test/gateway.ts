/**
 * Connect's own transports, as anybody has them from npm, against a gateway: `RAPPORT_HTTP`, `TOKEN` (of a
 * tenant without anything). `tests/tests/it/edge.rs` starts it.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Code, ConnectError, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import * as node from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";

import { EventStatus, EventType, ProfileService } from "../src/schema/profile.js";

const baseUrl = setting("RAPPORT_HTTP");
const authorised: Interceptor = (next) => (request) => {
  request.header.set("authorization", `Bearer ${setting("TOKEN")}`);
  return next(request);
};
const interceptors = [authorised];

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

const transports: Record<string, Transport> = {
  "connect-web, JSON": web.createConnectTransport({ baseUrl, interceptors }),
  "connect-web, binary": web.createConnectTransport({ baseUrl, interceptors, useBinaryFormat: true }),
  "connect-web, gRPC-Web": web.createGrpcWebTransport({ baseUrl, interceptors }),
  "connect-node, JSON": node.createConnectTransport({ baseUrl, interceptors, httpVersion: "1.1", useBinaryFormat: false }),
  "connect-node, gRPC-Web": node.createGrpcWebTransport({ baseUrl, interceptors, httpVersion: "1.1" }),
};

for (const [name, transport] of Object.entries(transports)) {
  test(`${name}: calls, rich errors, a deadline, a watch`, async () => {
    const profiles = createClient(ProfileService, transport);
    const ingest = async (messageId: string) => {
      const identifiers = [{ namespace: "user_id", value: name }];
      const events = [{ messageId, type: EventType.TRACK, name: "Seen", identifiers, properties: { price: 1.5 } }];
      const { results } = await profiles.ingestEvents({ events });
      const [result] = results;
      assert.equal(result?.status, EventStatus.ACCEPTED);
      return result;
    };
    const { customerId, profileVersion } = await ingest(`${name}-1`);
    const { profile } = await profiles.getProfile({ customerId, atLeastVersion: profileVersion });
    assert.equal(profile?.totalEvents, 1n);
    assert.ok(profile.firstEventTime);

    const wrong = await profiles.getProfile({ customerId: "nobody" }).catch((error: unknown) => error);
    assert.ok(wrong instanceof ConnectError, String(wrong));
    assert.equal(wrong.code, Code.InvalidArgument);
    const types = wrong.details.map((detail) => ("type" in detail ? detail.type : ""));
    assert.deepEqual(types.sort(), ["google.rpc.BadRequest", "google.rpc.ErrorInfo"]);
    const info = wrong.details.find((detail) => "type" in detail && detail.type === "google.rpc.ErrorInfo");
    assert.ok(info && "value" in info);
    assert.match(new TextDecoder().decode(info.value as Uint8Array), /INVALID_FIELD/);

    const future = { customerId, atLeastVersion: profileVersion + 1_000n };
    await assert.rejects(profiles.getProfile(future, { timeoutMs: 300 }), { code: Code.DeadlineExceeded });

    const abort = new AbortController();
    const watch = profiles.watchProfiles({ customerIds: [customerId] }, { signal: abort.signal })[Symbol.asyncIterator]();
    const first = watch.next();
    // The watch is open once something is seen; until then a change may come too early for it.
    let count = 2;
    let answer;
    do {
      await ingest(`${name}-${count++}`);
      const pause = new Promise<undefined>((resolve) => setTimeout(resolve, 300));
      answer = await Promise.race([first, pause]);
    } while (answer === undefined && count < 60);
    assert.equal(answer?.value?.change.case, "profile");
    assert.equal(answer?.value?.change.value.customerId, customerId);
    abort.abort();
    await assert.rejects(watch.next(), { code: Code.Canceled });
  });
}
