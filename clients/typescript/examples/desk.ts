import { createRapport, money, watch } from "@rapport/client";
import { DemandResult, OfferState, Presence } from "@rapport/client/routing";

const rapport = createRapport({
  baseUrl: process.env["RAPPORT_URL"] ?? "http://127.0.0.1:7400",
  token: process.env["TOKEN"] ?? "",
});

const agent = "li-na";
await rapport.routing.setPresence({ agent, presence: Presence.ONLINE });

// Every offer to this agent, through drains and lost connections, until the program is told to stop.
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());

for await (const { offer, resumeToken } of watch(rapport.routing.watchOffers, { agent }, { signal: stop.signal })) {
  if (offer.state !== OfferState.PENDING || !offer.demand) continue;
  const { demandId } = offer.demand;
  await rapport.routing.acceptOffer({ offerId: offer.offerId, agent });
  await rapport.routing.startWork({ demandId, agent });
  await rapport.routing.closeDemand({ demandId, agent, result: DemandResult.WON, value: money("CNY", "1299.90") });
  console.log(`closed ${demandId}; to go on here after a restart: ${resumeToken}`);
  break; // one is enough for an example
}
