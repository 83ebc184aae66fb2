import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("..", import.meta.url));

test("the types are those of the OpenAPI document", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "easel-ts-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const fresh = join(dir, "schema.ts");
  execFileSync(join(here, "node_modules/.bin/openapi-typescript"), ["../../docs/openapi.json", "--output", fresh], { cwd: here });
  assert.equal(readFileSync(join(here, "src/schema.ts"), "utf8"), readFileSync(fresh, "utf8"), "run: npm run generate");
});

test("the package holds what it needs and nothing else", () => {
  const [pack] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: here, encoding: "utf8" }));
  const modules = readdirSync(join(here, "src")).map((name) => name.replace(/\.ts$/, ""));
  assert.deepEqual(
    pack.files.map((file) => file.path).sort(),
    ["LICENSE", "README.md", "package.json", ...modules.flatMap((name) => [`dist/${name}.d.ts`, `dist/${name}.js`])].sort(),
  );
  const { dependencies, exports } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
  assert.equal(dependencies, undefined, "no dependencies at run time");
  for (const file of Object.values(exports["."])) assert.ok(pack.files.some((packed) => `./${packed.path}` === file), file);
});

test("it runs in browsers: nothing of Node is imported", () => {
  for (const name of readdirSync(join(here, "dist")).filter((file) => file.endsWith(".js"))) {
    const text = readFileSync(join(here, "dist", name), "utf8");
    for (const [, from] of text.matchAll(/(?:from|import)\s*\(?["']([^"']+)["']/g)) assert.match(from, /^\.\/\w+\.js$/, name);
    assert.doesNotMatch(text, /\b(?:process|Buffer|require)\b[.(]/, name);
  }
});

test("the lock file names no address to download from", () => {
  const lock = JSON.parse(readFileSync(join(here, "package-lock.json"), "utf8"));
  for (const [name, entry] of Object.entries(lock.packages)) {
    assert.equal(entry.resolved, undefined, name);
    if (name !== "") assert.match(entry.integrity, /^sha512-/, name);
  }
});
