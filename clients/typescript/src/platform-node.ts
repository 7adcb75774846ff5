/** What differs between Node and browsers; `#platform` in package.json chooses. This is Node. */

import { randomUUID } from "node:crypto";

import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

/** gRPC over HTTP/2, straight to the services' port. */
export function connect(baseUrl: string, interceptors: Interceptor[]): Transport {
  return createGrpcTransport({ baseUrl, interceptors });
}

/** A random UUID. */
export const uuid: () => string = randomUUID;
