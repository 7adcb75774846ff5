import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../../", import.meta.url);

test("every block of the README is part of an example that runs", () => {
  const readme = readFileSync(new URL("README.md", root), "utf8");
  const folder = new URL("examples/", root);
  const examples = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), "utf8"));
  const blocks = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, block = ""]) => block.trimEnd());
  assert.ok(blocks.length >= 5, `${blocks.length} blocks`);
  for (const block of blocks) assert.ok(examples.some((example) => example.includes(block)), block);
});
