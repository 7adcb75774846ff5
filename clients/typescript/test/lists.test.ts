import assert from "node:assert/strict";
import { test } from "node:test";

import { amountOf, durationFromMs, durationMs, money, pages, paginate } from "../src/index.js";
import { fakeRapport } from "../src/testing.js";

/** Ten demands, as many per page as asked for. */
function desk() {
  const asked: { pageToken: string; agent: string }[] = [];
  const rapport = fakeRapport({
    routing: {
      listDemands({ pageToken, pageSize, agent }) {
        asked.push({ pageToken, agent });
        const start = Number(pageToken || "0");
        const end = Math.min(10, start + (pageSize || 3));
        const demands = Array.from({ length: end - start }, (_, index) => ({ demandId: `d${start + index}` }));
        return { demands, nextPageToken: end < 10 ? String(end) : "" };
      },
    },
  });
  return { rapport, asked };
}

test("all items of all pages, in order, with the filter on each page", async () => {
  const { rapport, asked } = desk();
  const ids: string[] = [];
  for await (const demand of paginate(rapport.routing.listDemands, { agent: "li-na" })) ids.push(demand.demandId);
  assert.deepEqual(ids, Array.from({ length: 10 }, (_, index) => `d${index}`));
  assert.deepEqual(asked.map(({ pageToken }) => pageToken), ["", "3", "6", "9"]);
  assert.ok(asked.every(({ agent }) => agent === "li-na"));
});

test("no page is fetched before it is needed", async () => {
  const { rapport, asked } = desk();
  for await (const demand of paginate(rapport.routing.listDemands, { pageSize: 4 })) {
    if (demand.demandId === "d2") break;
  }
  assert.equal(asked.length, 1);
});

test("pages as they are", async () => {
  const { rapport } = desk();
  const sizes: number[] = [];
  for await (const page of pages(rapport.routing.listDemands, { pageSize: 5, pageToken: "5" })) sizes.push(page.demands.length);
  assert.deepEqual(sizes, [5]);
});

test("a server that does not move on is not asked for ever", async () => {
  const rapport = fakeRapport({ routing: { listTeams: () => ({ teams: [], nextPageToken: "same" }) } });
  const read = async () => {
    for await (const _team of paginate(rapport.routing.listTeams, {}));
  };
  await assert.rejects(read(), /never end/);
});

test("amounts come back as they were written", () => {
  for (const amount of ["0", "12.5", "-0.01", "1299.9", "-1", "999999999999999999.999999999"]) {
    assert.equal(amountOf(money("CNY", amount)), amount);
  }
  assert.deepEqual([money("EUR", "-12.50").units, money("EUR", "-12.50").nanos], [-12n, -500_000_000]);
  for (const bad of ["", "1,5", "1.", "1e3", ".5", "1.0000000001"]) assert.throws(() => money("EUR", bad), TypeError, bad);
});

test("durations come back as they were written", () => {
  for (const milliseconds of [0, 1, 999, 1_000, 1_500, -2_250, 86_400_000]) {
    assert.equal(durationMs(durationFromMs(milliseconds)), milliseconds);
  }
});
