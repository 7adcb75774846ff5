/** Messages and enums of the routing service, as `proto/rapport/routing/v1` documents them. */
export * from "../gen/rapport/routing/v1/routing_pb.js";
