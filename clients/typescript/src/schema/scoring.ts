/** Messages and enums of the scoring service, as `proto/rapport/scoring/v1` documents them. */
export * from "../gen/rapport/scoring/v1/scoring_pb.js";
