/**
 * What a failed call says, as types.
 *
 * A server of Rapport always sends `google.rpc.ErrorInfo` with a reason of `docs/errors.md`. What has
 * no reason comes from the way there: a refused connection, a proxy, a broken stream.
 */

import { Code, ConnectError } from "@connectrpc/connect";

import { durationMs } from "./duration.js";
import { BadRequestSchema, ErrorInfoSchema, RequestInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { ErrorReason as Reasons } from "./gen/rapport/common/v1/error_reason_pb.js";

/** Why a call failed, as a stable word: `docs/errors.md` documents each. */
export type ErrorReason = Exclude<keyof typeof Reasons, "UNSPECIFIED">;

/** What is wrong with one field of the request. */
export interface Violation {
  /** The path inside the request, e.g. `events[0].identifiers[1].value`. */
  readonly field: string;
  /** What is wrong and what is expected. */
  readonly description: string;
}

/** `ErrorInfo.domain` of everything that Rapport says. */
export const ERROR_DOMAIN = "rapport.dev";

export const REQUEST_ID_HEADER = "x-request-id";

/** A failed call. `instanceof RapportError` holds for everything that a client of this package throws. */
export class RapportError extends Error {
  override name = "RapportError";
  /** The gRPC code. A lost connection is `Unavailable`, whatever the transport calls it. */
  readonly code: Code;
  /** Why; absent if the failure is not the server's word, or newer than this package. */
  readonly reason: ErrorReason | undefined;
  /** Every wrong field, of `INVALID_FIELD`. */
  readonly violations: readonly Violation[];
  /** After how long the server wants to be asked again; absent where a retry does not help. */
  readonly retryAfterMs: number | undefined;
  /** Leads to the call in the server's logs. */
  readonly requestId: string | undefined;
  /** Details of the reason, e.g. `resource` of `IN_USE`. */
  readonly metadata: Readonly<Record<string, string>>;

  constructor(error: ConnectError, requestId?: string) {
    super(error.message, { cause: error });
    const info = error.findDetails(ErrorInfoSchema).find((one) => one.domain === ERROR_DOMAIN);
    const retry = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
    const named = error.findDetails(RequestInfoSchema)[0]?.requestId;
    this.code = isLostConnection(error) ? Code.Unavailable : error.code;
    this.reason = info && isReason(info.reason) ? info.reason : undefined;
    this.violations = error
      .findDetails(BadRequestSchema)
      .flatMap((bad) => bad.fieldViolations.map(({ field, description }) => ({ field, description })));
    this.retryAfterMs = retry && durationMs(retry);
    this.requestId = error.metadata.get(REQUEST_ID_HEADER) ?? named ?? requestId;
    this.metadata = info?.metadata ?? {};
  }

  /** Turns whatever was thrown into a `RapportError`; one that is one stays as it is. */
  static from(thrown: unknown, requestId?: string): RapportError {
    if (thrown instanceof RapportError) return thrown;
    return new RapportError(ConnectError.from(thrown), requestId);
  }
}

/**
 * A watch that was away for longer than the feed is kept (`FEED_TRUNCATED`): read everything again,
 * then watch from there.
 */
export class ResumeTokenExpired extends RapportError {
  override name = "ResumeTokenExpired";

  constructor(error: RapportError) {
    super(error.cause as ConnectError, error.requestId);
  }
}

function isReason(word: string): word is ErrorReason {
  return word in Reasons && word !== "UNSPECIFIED";
}

/**
 * True if the connection broke, which transports call by many names: connect-node says `Aborted`
 * (ECONNRESET), `Internal` (other errors of sockets and HTTP/2), `Canceled` (a stream that the peer
 * reset); fetch throws a TypeError.
 */
function isLostConnection(error: ConnectError): boolean {
  if (error.details.length > 0) return false;
  for (let cause: unknown = error.cause, depth = 0; cause instanceof Error && depth < 8; cause = cause.cause, depth += 1) {
    const code = (cause as { code?: unknown }).code;
    if (typeof code === "string" && /^(E[A-Z]+$|ERR_HTTP2_|ERR_STREAM_|UND_ERR_)/.test(code)) return true;
    if (cause instanceof TypeError && /fetch|network|terminated|input stream|load failed/i.test(cause.message)) return true;
  }
  return /^(http\/2 stream closed|premature|missing trailer|protocol error: (missing|premature))/i.test(error.rawMessage);
}
