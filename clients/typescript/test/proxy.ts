/** A connection that can be broken: bytes go to and fro between the client and the suite. */

import { createServer, connect, type AddressInfo, type Server, type Socket } from "node:net";

export class Proxy {
  connections = 0;
  /** Answers that never arrived. */
  lost = 0;
  #loses = false;
  #open = new Set<Socket>();

  private constructor(private readonly server: Server) {}

  static async start(target: string): Promise<Proxy> {
    const { hostname, port } = new URL(target);
    const server = createServer();
    const proxy = new Proxy(server);
    server.on("connection", (client) => proxy.#join(client, connect(Number(port), hostname)));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Breaks all connections as a network does: without a word of HTTP. */
  cut(): void {
    for (const client of this.#open) client.resetAndDestroy();
  }

  /** The suite gets the next request and works on it; its answer breaks the connection. */
  loseNextAnswer(): void {
    this.#loses = true;
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  #join(client: Socket, suite: Socket): void {
    this.connections += 1;
    this.#open.add(client);
    let requested = false;
    client.on("data", (bytes) => {
      requested ||= this.#loses;
      suite.write(bytes);
    });
    suite.on("data", (bytes) => {
      // An acknowledgement or a window is no answer: those frames are short.
      if (this.#loses && requested && bytes.length > 64) {
        this.#loses = false;
        this.lost += 1;
        client.resetAndDestroy();
        return;
      }
      client.write(bytes);
    });
    const end = () => {
      this.#open.delete(client);
      client.destroy();
      suite.destroy();
    };
    for (const socket of [client, suite]) socket.on("error", end).on("close", end);
  }
}
