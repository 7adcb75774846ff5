/**
 * Rapport without a server, for the tests of your own code: you write the answers, the client is the
 * real one – deadlines, retries, pages, watches and errors behave as in earnest.
 */

import { Code, ConnectError, type ConnectRouter, createRouterTransport, type ServiceImpl } from "@connectrpc/connect";

import { createRapport, type Rapport, type RapportOptions, type ServiceName, services } from "./client.js";
import { durationFromMs } from "./duration.js";
import { ERROR_DOMAIN, type ErrorReason, type Violation } from "./error.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** Answers by service and method; a method without one is `Unimplemented`. */
export type Fakes = { readonly [S in ServiceName]?: Partial<ServiceImpl<(typeof services)[S]>> };

/** A client whose calls are answered by `fakes`. */
export function fakeRapport(fakes: Fakes, options: Partial<RapportOptions> = {}): Rapport {
  const routes = (router: ConnectRouter) => {
    router.service(services.identity, fakes.identity ?? {});
    router.service(services.profile, fakes.profile ?? {});
    router.service(services.scoring, fakes.scoring ?? {});
    router.service(services.routing, fakes.routing ?? {});
    router.service(services.feedback, fakes.feedback ?? {});
  };
  return createRapport({ token: "test", ...options, transport: createRouterTransport(routes) });
}

/** What a failure says besides its code and reason. */
export interface FailureDetails {
  readonly message?: string;
  readonly violations?: readonly Violation[];
  readonly retryAfterMs?: number;
  readonly metadata?: Record<string, string>;
}

/** An error as a server of Rapport sends it; throw it in an answer. */
export function failure(code: Code, reason: ErrorReason, details: FailureDetails = {}): ConnectError {
  const { message = reason, violations = [], retryAfterMs, metadata = {} } = details;
  return new ConnectError(message, code, undefined, [
    { desc: ErrorInfoSchema, value: { reason, domain: ERROR_DOMAIN, metadata } },
    ...(violations.length ? [{ desc: BadRequestSchema, value: { fieldViolations: violations.map((one) => ({ ...one })) } }] : []),
    ...(retryAfterMs === undefined ? [] : [{ desc: RetryInfoSchema, value: { retryDelay: durationFromMs(retryAfterMs) } }]),
  ]);
}
