/** The five services as typed clients over one connection. */

import type { DescMethodStreaming, DescMethodUnary } from "@bufbuild/protobuf";
import { type Client, createClient, type Interceptor, type Transport } from "@connectrpc/connect";

import { connect } from "#platform";
import { type TraceContext, withPolicy } from "./calls.js";
import { FeedbackService } from "./gen/rapport/feedback/v1/feedback_pb.js";
import { IdentityService } from "./gen/rapport/identity/v1/identity_pb.js";
import { ProfileService } from "./gen/rapport/profile/v1/profile_pb.js";
import { RoutingService } from "./gen/rapport/routing/v1/routing_pb.js";
import { ScoringService } from "./gen/rapport/scoring/v1/scoring_pb.js";
import { DEFAULT_RETRY, type RetryPolicy } from "./retry.js";

/** The services by the names that this package gives them. */
export const services = {
  identity: IdentityService,
  profile: ProfileService,
  scoring: ScoringService,
  routing: RoutingService,
  feedback: FeedbackService,
} as const;

/** One of the five. */
export type ServiceName = keyof typeof services;

/** A method, e.g. `profile.getProfile`. */
export type MethodName = {
  [S in ServiceName]: `${S}.${keyof (typeof services)[S]["method"] & string}`;
}[ServiceName];

/** The suite as seen by a caller. */
export type Rapport = { readonly [S in ServiceName]: Client<(typeof services)[S]> };

/** How to reach the suite, and how calls are made. */
export interface RapportOptions {
  /**
   * From Node the RPC address, e.g. `http://127.0.0.1:7400`; from a browser the gateway's. Not needed
   * with `transport`.
   */
  readonly baseUrl?: string;
  /** The bearer token, or where to get the one that is good now. */
  readonly token: string | (() => string | Promise<string>);
  /** The deadline of calls that name none, in milliseconds. Default 10,000. Watches have none. */
  readonly deadlineMs?: number;
  /** Deadlines of single methods; 0 for none. `timeoutMs` of a call overrides both. */
  readonly deadlines?: { readonly [M in MethodName]?: number };
  /** Changes to the retry policy, or `false` for none. */
  readonly retry?: Partial<RetryPolicy> | false;
  /** The trace that calls belong to, e.g. from OpenTelemetry's propagator. */
  readonly trace?: () => TraceContext | undefined;
  /** Your own transport instead of the platform's. */
  readonly transport?: Transport;
  /** Interceptors of the platform's transport. */
  readonly interceptors?: Interceptor[];
}

const DEFAULT_DEADLINE_MS = 10_000;

/** Makes the clients. Nothing is connected before the first call. */
export function createRapport(options: RapportOptions): Rapport {
  const { token, retry = {} } = options;
  const transport = withPolicy(options.transport ?? connect(address(options), options.interceptors ?? []), {
    token: typeof token === "string" ? () => token : token,
    deadlineMs: deadlines(options),
    retry: retry === false ? undefined : { ...DEFAULT_RETRY, ...retry },
    trace: options.trace,
  });
  return {
    identity: createClient(IdentityService, transport),
    profile: createClient(ProfileService, transport),
    scoring: createClient(ScoringService, transport),
    routing: createClient(RoutingService, transport),
    feedback: createClient(FeedbackService, transport),
  };
}

function address({ baseUrl }: RapportOptions): string {
  if (!baseUrl) throw new TypeError("createRapport needs a baseUrl, e.g. http://127.0.0.1:7400, or a transport");
  return baseUrl;
}

function deadlines(options: RapportOptions): (method: DescMethodUnary | DescMethodStreaming) => number | undefined {
  const own = new Map<string, number>();
  for (const [name, milliseconds] of Object.entries(options.deadlines ?? {})) {
    const [service = "", method = ""] = name.split(".");
    const known: { typeName: string; method: Record<string, unknown> } | undefined = services[service as ServiceName];
    if (!known || !(method in known.method)) throw new TypeError(`deadlines: there is no method ${name}`);
    own.set(`${known.typeName}.${method}`, milliseconds);
  }
  const usual = options.deadlineMs ?? DEFAULT_DEADLINE_MS;
  return (method) =>
    own.get(`${method.parent.typeName}.${method.localName}`) ?? (method.methodKind === "unary" ? usual : undefined);
}
