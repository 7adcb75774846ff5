import assert from "node:assert/strict";

import { Code, type Rapport, RapportError } from "@rapport/client";
import { failure, fakeRapport } from "@rapport/client/testing";

// Your code …
async function greeting(rapport: Rapport, customerId: string): Promise<string> {
  const { profile } = await rapport.profile.getProfile({ customerId });
  const name = profile?.traits["name"]?.value?.kind;
  return name?.case === "stringValue" ? `Good day, ${name.value}` : "Good day";
}

// … and its test: the real client, your answers.
const rapport = fakeRapport({
  profile: {
    getProfile: ({ customerId }) => {
      if (customerId !== "c1") throw failure(Code.NotFound, "NOT_FOUND");
      return { profile: { customerId, traits: { name: { value: { kind: { case: "stringValue", value: "Ada" } } } } } };
    },
  },
});
assert.equal(await greeting(rapport, "c1"), "Good day, Ada");
await assert.rejects(greeting(rapport, "c2"), (error) => error instanceof RapportError && error.reason === "NOT_FOUND");
