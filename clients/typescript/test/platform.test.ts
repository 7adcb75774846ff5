import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { webcrypto } from "node:crypto";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { uuid } from "../src/platform-web.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** What `#platform` is for a program that is resolved under these conditions. */
function chosen(...conditions: string[]): string {
  const script = 'console.log(import.meta.resolve("#platform"))';
  const options = conditions.map((condition) => `--conditions=${condition}`);
  return execFileSync(process.execPath, [...options, "--input-type=module", "-e", script], { cwd: root, encoding: "utf8" });
}

test("a bundler for browsers gets gRPC-Web, Node gets gRPC", { skip: !("resolve" in import.meta) }, () => {
  assert.match(chosen("browser"), /platform-web\.js$/m);
  assert.match(chosen(), /platform-node\.js$/m);
});

test("ids of browsers are UUIDs of version 4", () => {
  globalThis.crypto ??= webcrypto as Crypto;
  const ids = Array.from({ length: 100 }, uuid);
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(new Set(ids).size, ids.length);
});
