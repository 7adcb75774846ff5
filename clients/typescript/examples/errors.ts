import { Code, createRapport, RapportError } from "@rapport/client";

const rapport = createRapport({
  baseUrl: process.env["RAPPORT_URL"] ?? "http://127.0.0.1:7400",
  token: process.env["TOKEN"] ?? "",
  deadlineMs: 2_000,
  deadlines: { "profile.ingestEvents": 10_000 },
});

try {
  await rapport.routing.createDemand({ customerId: "not-a-uuid", kind: "Lead!" });
} catch (error) {
  if (!(error instanceof RapportError)) throw error;
  switch (error.reason) {
    case "INVALID_FIELD":
      for (const { field, description } of error.violations) console.log(`${field}: ${description}`);
      break;
    case "NOT_FOUND":
      console.log("no such customer");
      break;
    default:
      // Transient failures were retried already; the request id leads to the call in the server's logs.
      console.log(Code[error.code], error.reason, error.message, error.requestId);
  }
}
