/** Messages that all services share. */
export * from "../gen/google/type/money_pb.js";
export * from "../gen/rapport/common/v1/types_pb.js";
export * from "../gen/rapport/common/v1/resource_pb.js";
