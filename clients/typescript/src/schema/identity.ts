/** Messages and enums of the identity service, as `proto/rapport/identity/v1` documents them. */
export * from "../gen/rapport/identity/v1/identity_pb.js";
