import { createRapport, paginate } from "@rapport/client";
import { EventType } from "@rapport/client/profile";

const rapport = createRapport({
  baseUrl: process.env["RAPPORT_URL"] ?? "http://127.0.0.1:7400",
  token: process.env["TOKEN"] ?? "",
});

// Something happened. The answer follows the commit.
const { results } = await rapport.profile.ingestEvents({
  events: [
    {
      messageId: "quickstart-1",
      type: EventType.TRACK,
      name: "Pricing Viewed",
      identifiers: [
        { namespace: "anonymous_id", value: "browser-7" },
        { namespace: "email", value: "Ada@Example.org" },
      ],
      properties: { plan: "gold", seats: 3 },
    },
  ],
});
const [result] = results;
if (!result?.customerId) throw new Error(JSON.stringify(result?.violations));

// What do we know? A read that names the version has seen the event.
const { profile } = await rapport.profile.getProfile({
  customerId: result.customerId,
  atLeastVersion: result.profileVersion, // an int64 is a bigint
});
console.log(`${profile?.totalEvents} event(s) of customer ${profile?.customerId}`);

// All pages, fetched when they are needed.
for await (const { event } of paginate(rapport.profile.getTimeline, { customerId: result.customerId, pageSize: 100 })) {
  console.log(event?.messageId, event?.name, event?.properties);
}
