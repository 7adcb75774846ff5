/**
 * Watches that outlive connections.
 *
 * Every answer of a watch carries a resume token. When the stream breaks – the server drains, a
 * connection is lost, nothing is heard for three heartbeats – the watch is opened again from the last
 * token, so that each change is seen once and none is left out. Heartbeats are not shown.
 */

import { Code, type CallOptions, ConnectError } from "@connectrpc/connect";

import { RapportError, ResumeTokenExpired } from "./error.js";
import { backoffMs, DEFAULT_RETRY, isTransient, pause } from "./retry.js";

/** A method that streams changes. */
export type WatchMethod<Req, Res> = (request: Req, options?: CallOptions) => AsyncIterable<Res>;

/** An answer that is no heartbeat. Keep its `resumeToken` to go on after a restart of your program. */
export type Change<Res> = {
  [K in keyof Res as K extends `$${string}` ? never : K]-?: Exclude<Res[K], undefined | { case: undefined }>;
};

/** How to watch. */
export interface WatchOptions extends Omit<CallOptions, "timeoutMs" | "signal"> {
  /** Ends the watch: the loop over it simply stops. */
  readonly signal?: AbortSignal;
  /** After so long without even a heartbeat the connection counts as lost. Default 45,000. */
  readonly silenceMs?: number;
  /** The longest wait between two attempts. Default 10,000. */
  readonly maxBackoffMs?: number;
  /** Hears of each interruption, before the wait that follows it. */
  readonly onInterrupted?: (error: RapportError, waitMs: number) => void;
}

interface Resumable {
  readonly resumeToken: string;
}

const SILENCE_MS = 45_000;
const MAX_BACKOFF_MS = 10_000;

/**
 * Changes as they happen, e.g. `for await (const { offer } of watch(rapport.routing.watchOffers, { agent }))`.
 * Goes on until the loop is left, the signal aborts, or an error that time does not heal is thrown:
 * `ResumeTokenExpired` if the feed no longer goes back so far.
 */
export async function* watch<Req extends { resumeToken?: string }, Res extends Resumable>(
  method: WatchMethod<Req, Res>,
  request: NoInfer<Req>,
  options: WatchOptions = {},
): AsyncGenerator<Change<Res>, void, undefined> {
  const { signal, silenceMs = SILENCE_MS, maxBackoffMs = MAX_BACKOFF_MS, onInterrupted, ...call } = options;
  let resumeToken = request.resumeToken ?? "";
  for (let failures = 1; !signal?.aborted; failures += 1) {
    // Of the stream alone: leaving the loop must end the call, too, which `return` does not.
    const stream = new AbortController();
    const abort = () => stream.abort();
    signal?.addEventListener("abort", abort);
    const answers = method({ ...request, resumeToken }, { ...call, signal: stream.signal })[Symbol.asyncIterator]();
    let interruption: RapportError;
    try {
      for await (const answer of attended(answers, silenceMs)) {
        failures = 0;
        resumeToken = answer.resumeToken;
        if (isChange(answer)) yield answer as unknown as Change<Res>;
        if (signal?.aborted) return;
      }
      interruption = RapportError.from(new ConnectError("the server ended the watch", Code.Unavailable));
    } catch (thrown) {
      if (signal?.aborted) return;
      interruption = RapportError.from(thrown);
    } finally {
      signal?.removeEventListener("abort", abort);
      stream.abort();
    }
    if (interruption.code === Code.OutOfRange) throw new ResumeTokenExpired(interruption);
    if (!isTransient(interruption)) throw interruption;
    // A drain names the place, also to a watch that has heard nothing yet; empty, it names none.
    resumeToken = interruption.metadata["resume_token"] || resumeToken;
    const wait = backoffMs({ ...DEFAULT_RETRY, maxBackoffMs }, Math.max(failures, 1), interruption.retryAfterMs, Math.random());
    onInterrupted?.(interruption, wait);
    await pause(wait, signal);
  }
}

/** The messages, unless there are none for too long. */
async function* attended<T>(messages: AsyncIterator<T>, silenceMs: number): AsyncGenerator<T> {
  for (;;) {
    const next = messages.next();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const silence = new Promise<never>((_, reject) => {
      const lost = () => reject(new ConnectError(`nothing was heard for ${silenceMs} ms`, Code.Unavailable));
      timer = setTimeout(lost, silenceMs);
    });
    try {
      const result = await Promise.race([next, silence]);
      if (result.done) return;
      yield result.value;
    } finally {
      clearTimeout(timer);
      // Abandoned, it ends with the abort of its call: nobody else hears of that.
      next.catch(() => undefined);
    }
  }
}

/** False for a heartbeat: nothing but a resume token. */
function isChange(answer: object): boolean {
  return Object.entries(answer).some(([name, value]) => {
    if (name === "resumeToken" || name.startsWith("$") || value === undefined) return false;
    return !(typeof value === "object" && value !== null && "case" in value && value.case === undefined);
  });
}
