/** Messages and enums of the feedback service, as `proto/rapport/feedback/v1` documents them. */
export * from "../gen/rapport/feedback/v1/feedback_pb.js";
