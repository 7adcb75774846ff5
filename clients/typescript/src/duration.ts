/** Milliseconds in and out of `google.protobuf.Duration`. */

import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";

const PER_SECOND = 1_000;
const NANOS = 1_000_000;

/** Finer parts than a millisecond are kept as a fraction. */
export function durationMs({ seconds, nanos }: Pick<Duration, "seconds" | "nanos">): number {
  return Number(seconds) * PER_SECOND + nanos / NANOS;
}

/** The duration of so many milliseconds. */
export function durationFromMs(milliseconds: number): Duration {
  if (!Number.isFinite(milliseconds)) throw new TypeError(`a duration is finite, not ${milliseconds}`);
  const seconds = Math.trunc(milliseconds / PER_SECOND);
  const nanos = Math.round((milliseconds - seconds * PER_SECOND) * NANOS);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos });
}
