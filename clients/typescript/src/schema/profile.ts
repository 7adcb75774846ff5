/** Messages and enums of the profile service, as `proto/rapport/profile/v1` documents them. */
export * from "../gen/rapport/profile/v1/event_pb.js";
export * from "../gen/rapport/profile/v1/profile_pb.js";
