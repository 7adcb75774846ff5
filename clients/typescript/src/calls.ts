/**
 * What every call gets, whatever carries it: a token, a request id, the trace, a deadline, retries,
 * and errors as types.
 *
 * This wraps a transport and is no interceptor: an interceptor runs inside one deadline and cannot
 * give each attempt what is left of it.
 */

import { create, type DescMessage, type DescMethodStreaming, type DescMethodUnary, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type StreamResponse, type Transport, type UnaryResponse } from "@connectrpc/connect";

import { uuid } from "#platform";
import { RapportError, REQUEST_ID_HEADER } from "./error.js";
import { backoffMs, Budget, isRepeatable, isTransient, pause, type RetryPolicy } from "./retry.js";

/** The W3C trace context of the caller. */
export interface TraceContext {
  readonly traceparent: string;
  readonly tracestate?: string;
}

/** The settings of all calls of a client. */
export interface CallPolicy {
  readonly token: () => string | Promise<string>;
  /** The deadline of a method in milliseconds; undefined for none. */
  readonly deadlineMs: (method: DescMethodUnary | DescMethodStreaming) => number | undefined;
  /** Undefined for no retries. */
  readonly retry: RetryPolicy | undefined;
  readonly trace: (() => TraceContext | undefined) | undefined;
}

/** `inner` with the policy around each call. */
export function withPolicy(inner: Transport, policy: CallPolicy): Transport {
  const budget = policy.retry && new Budget(policy.retry);
  return {
    async unary<I extends DescMessage, O extends DescMessage>(
      method: DescMethodUnary<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersInit | undefined,
      input: MessageInitShape<I>,
      context?: Parameters<Transport["unary"]>[5],
    ): Promise<UnaryResponse<I, O>> {
      const { headers, requestId } = identified(header);
      const remaining = countdown(timeoutMs ?? policy.deadlineMs(method));
      const request = withRequestId(method, input);
      const repeatable = isRepeatable(method, request.hasRequestId);
      for (let attempt = 1; ; attempt += 1) {
        try {
          await authorise(headers, policy);
          const left = remaining();
          const answer = await inner.unary(method, signal, left, headers, request.message, context);
          budget?.succeeded();
          return answer;
        } catch (thrown) {
          const error = RapportError.from(thrown, requestId);
          const { retry } = policy;
          if (!retry || !isTransient(error)) throw error;
          const affordable = budget?.failed() ?? false;
          if (!repeatable || attempt >= retry.maxAttempts || !affordable || signal?.aborted) throw error;
          const wait = backoffMs(retry, attempt, error.retryAfterMs, Math.random());
          // What cannot be answered any more is not worth asking.
          if (wait >= (remaining() ?? Infinity)) throw error;
          await pause(wait, signal);
        }
      }
    },

    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersInit | undefined,
      input: AsyncIterable<MessageInitShape<I>>,
      context?: Parameters<Transport["stream"]>[5],
    ): Promise<StreamResponse<I, O>> {
      const { headers, requestId } = identified(header);
      try {
        await authorise(headers, policy);
        const deadline = timeoutMs ?? policy.deadlineMs(method);
        const answer = await inner.stream(method, signal, deadline, headers, input, context);
        return { ...answer, message: typed(answer.message, requestId) };
      } catch (thrown) {
        throw RapportError.from(thrown, requestId);
      }
    },
  };
}

async function* typed<T>(messages: AsyncIterable<T>, requestId: string): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (thrown) {
    throw RapportError.from(thrown, requestId);
  }
}

/** The caller's headers with a request id; all attempts of a call share it. */
function identified(header: HeadersInit | undefined): { headers: Headers; requestId: string } {
  const headers = new Headers(header);
  const requestId = headers.get(REQUEST_ID_HEADER) ?? uuid();
  headers.set(REQUEST_ID_HEADER, requestId);
  return { headers, requestId };
}

/** Asked anew for each attempt: a token may have been renewed meanwhile. */
async function authorise(headers: Headers, policy: CallPolicy): Promise<void> {
  headers.set("authorization", `Bearer ${await policy.token()}`);
  const trace = policy.trace?.();
  if (trace && !headers.has("traceparent")) {
    headers.set("traceparent", trace.traceparent);
    if (trace.tracestate) headers.set("tracestate", trace.tracestate);
  }
}

/** What is left of the deadline; throws when nothing is. */
function countdown(deadlineMs: number | undefined): () => number | undefined {
  if (deadlineMs === undefined || deadlineMs <= 0) return () => undefined;
  const end = Date.now() + deadlineMs;
  return () => {
    const left = end - Date.now();
    if (left > 0) return left;
    throw new ConnectError("the deadline passed before the call could be sent", Code.DeadlineExceeded);
  };
}

/** The message with `request_id` filled, if its type has that field (AIP-155). */
function withRequestId<I extends DescMessage>(
  method: DescMethodUnary<I>,
  input: MessageInitShape<I>,
): { message: MessageInitShape<I>; hasRequestId: boolean } {
  const field = method.input.field["requestId"];
  if (field?.fieldKind !== "scalar") return { message: input, hasRequestId: false };
  const given = input as { requestId?: string };
  if (given.requestId) return { message: input, hasRequestId: true };
  const filled = { ...create(method.input, input), requestId: uuid() };
  return { message: filled as MessageInitShape<I>, hasRequestId: true };
}
