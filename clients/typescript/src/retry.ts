/**
 * When a failed call is sent again: seldom, late, and only if that cannot do it twice.
 *
 * Retries are paid from a budget (gRFC A6): a failure takes one token, a success returns a tenth, and
 * below half of the budget nothing is retried. So retries add at most a tenth to the load that a
 * struggling server has anyway. Waits are exponential with full jitter, and at least what the server
 * asks for.
 */

import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";

import type { RapportError } from "./error.js";

/** How retries are made. */
export interface RetryPolicy {
  /** Tries in all, the first one included. */
  readonly maxAttempts: number;
  /** The longest first wait, in milliseconds; each further one may be twice as long. */
  readonly initialBackoffMs: number;
  /** No wait is longer, unless the server asks for it. */
  readonly maxBackoffMs: number;
  /** Tokens of the full budget. */
  readonly budgetTokens: number;
  /** What a success returns to the budget: the share of retries in the long run. */
  readonly budgetRatio: number;
}

export const DEFAULT_RETRY: RetryPolicy = {
  maxAttempts: 3,
  initialBackoffMs: 100,
  maxBackoffMs: 2_000,
  budgetTokens: 100,
  budgetRatio: 0.1,
};

/** The token bucket of one client. */
export class Budget {
  #tokens: number;

  constructor(private readonly policy: RetryPolicy) {
    this.#tokens = policy.budgetTokens;
  }

  succeeded(): void {
    this.#tokens = Math.min(this.policy.budgetTokens, this.#tokens + this.policy.budgetRatio);
  }

  /** Takes a token for a failure, and says whether there is enough left for a retry. */
  failed(): boolean {
    this.#tokens = Math.max(0, this.#tokens - 1);
    return this.#tokens > this.policy.budgetTokens / 2;
  }
}

/** True if a repeat cannot do the work twice. */
export function isRepeatable(method: DescMethod, hasRequestId: boolean): boolean {
  return hasRequestId || method.idempotency !== Idempotency.IDEMPOTENCY_UNKNOWN;
}

/** True if the same call may succeed a little later. */
export function isTransient(error: RapportError): boolean {
  if (error.code === Code.Unavailable) return true;
  return error.code === Code.ResourceExhausted && error.retryAfterMs !== undefined;
}

/** How long to wait before attempt number `attempt + 1`; `random` is from [0, 1). */
export function backoffMs(policy: RetryPolicy, attempt: number, retryAfterMs: number | undefined, random: number): number {
  const ceiling = Math.min(policy.maxBackoffMs, policy.initialBackoffMs * 2 ** (attempt - 1));
  return (retryAfterMs ?? 0) + ceiling * random;
}

/** Resolves after so long; at once, and quietly, if the signal aborts. */
export function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const finish = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", finish);
      resolve();
    };
    const timer = setTimeout(finish, milliseconds);
    signal?.addEventListener("abort", finish);
  });
}
