/**
 * Rapport from TypeScript: five typed clients that call safely.
 *
 * Messages, enums and services are generated from the same protos as the servers; they stand in
 * `@rapport/client/profile` and its like. There is deliberately no cache and no model of its own here.
 */

export { Code } from "@connectrpc/connect";
export { create, fromJson, toJson, toJsonString } from "@bufbuild/protobuf";
export { timestampDate, timestampFromDate, timestampNow } from "@bufbuild/protobuf/wkt";

export type { TraceContext } from "./calls.js";
export { createRapport, type MethodName, type Rapport, type RapportOptions, type ServiceName, services } from "./client.js";
export { durationFromMs, durationMs } from "./duration.js";
export { type ErrorReason, RapportError, ResumeTokenExpired, type Violation } from "./error.js";
export { amountOf, money } from "./money.js";
export { type Item, type PagedMethod, pages, paginate } from "./paginate.js";
export type { RetryPolicy } from "./retry.js";
export { type Change, watch, type WatchMethod, type WatchOptions } from "./watch.js";
