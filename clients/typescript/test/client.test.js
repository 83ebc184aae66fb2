import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { artifactInput, Easel, EaselError, isAtRest, JobError, ProblemError, uploadInput, UnreachableError } from "../dist/index.js";
import { fileURLToPath } from "node:url";
import { startEasel, startProxy } from "../testing/easel.js";

const here = fileURLToPath(new URL("..", import.meta.url));

const picture = { feature_type: "text-to-image", model: "sketch-noop", input_data: { prompt: "x" } };
const simulated = (simulate) => ({ ...picture, input_data: { prompt: "x", simulate } });
const pixel = Uint8Array.from(atob("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="), (c) => c.charCodeAt(0));

describe("against a real server", { timeout: 240_000 }, () => {
  let url, easel, stop;
  before(async () => {
    ({ url, stop } = await startEasel());
    easel = new Easel({ baseUrl: `${url}/` });
  });
  after(() => stop?.());

  test("execute reports progress and returns the result", async () => {
    const stages = [];
    const job = await easel.execute(
      { ...picture, input_data: { prompt: "x", simulate: { sync: false, duration_ms: 600 } }, user_id: "ann" },
      { onProgress: (progress, at) => stages.push([at.version, progress.stage]) },
    );
    assert.equal(job.status, "completed");
    assert.equal(job.result.artifacts[0].media_type, "image/png");
    assert.ok(stages.length > 2, "there is more than a beginning and an end");
    assert.equal(stages.at(-1)[1], "completed");
    const versions = stages.map(([version]) => version);
    assert.deepEqual(versions, [...new Set(versions)].sort((a, b) => a - b), "every version once, in order");

    const file = await easel.download(job.id, 0);
    const bytes = new Uint8Array(await file.arrayBuffer());
    assert.equal(bytes.length, job.result.artifacts[0].bytes);
    const part = await easel.download(job.id, 0, { range: "bytes=1-3" });
    assert.equal(await part.text(), "PNG");
    assert.equal((await easel.attach(job.id)).version, job.version);
  });

  test("a job that does not complete is an error that holds it", async () => {
    const failed = await easel.execute(simulated({ fail: "content_policy" })).catch((error) => error);
    assert.ok(failed instanceof JobError && failed instanceof EaselError);
    assert.equal(failed.job.status, "failed");
    assert.equal(failed.class, "content_policy");
    assert.equal(failed.retryable, false);

    const unresolved = await easel.execute(simulated({ lose_answer: true, times: 1 })).catch((error) => error);
    assert.equal(unresolved.job.status, "unresolved");
    const refused = await easel.retry(unresolved.job.id, { mode: "regenerate" }).catch((error) => error);
    assert.ok(refused instanceof ProblemError);
    assert.deepEqual([refused.status, refused.code], [409, "job_unresolved"]);
    assert.ok(refused.requestId);
    await easel.resolve(unresolved.job.id, { outcome: "not_created" });
    assert.equal((await easel.attach(unresolved.job.id)).status, "completed");
  });

  test("retry", async () => {
    const { job } = await easel.execute(simulated({ fail: "validation", times: 1 })).catch((error) => error);
    const again = await easel.retry(job.id, { mode: "regenerate", idempotencyKey: 'once "more"' });
    const same = await easel.retry(job.id, { mode: "regenerate", idempotencyKey: 'once "more"' });
    assert.ok(!isAtRest(again) || again.status === "completed");
    assert.ok(same.version >= again.version);
    assert.equal((await easel.attach(job.id)).status, "completed");
  });

  test("faults name what is wrong and where", async () => {
    const error = await easel.enqueue({ ...picture, retry_attempts: -1, priority: "urgent" }).catch((e) => e);
    assert.ok(error instanceof ProblemError);
    assert.equal(error.status, 422);
    assert.deepEqual(error.errors.map((fault) => fault.pointer).sort(), ["#/priority", "#/retry_attempts"]);
    const missing = await easel.get("../providers").catch((e) => e);
    assert.deepEqual([missing.status, missing.code], [404, "not_found"]);
  });

  test("enqueue, get, list, cancel and delete", async () => {
    const waited = await easel.enqueue({ ...picture, user_id: "bob" }, { wait: 30 });
    assert.equal(waited.status, "completed");
    const results = await easel.enqueueBatch([{ ...picture, user_id: "bob" }, { feature_type: "nope", input_data: {} }, { ...picture, user_id: "bob" }]);
    assert.deepEqual(results.map((r) => r.status), [202, 422, 202]);
    assert.equal(results[1].error.status, 422);
    const ids = new Set();
    for await (const job of easel.all({ userId: "bob", limit: 2 })) ids.add(job.id);
    assert.equal(ids.size, 3);
    assert.equal((await easel.list({ userId: "bob", status: ["canceled", "unresolved"] })).jobs.length, 0);
    assert.ok((await easel.list({ userId: "bob", includeInput: true })).jobs[0].input_data);

    const slow = await easel.enqueue(simulated({ sync: false, never: true }));
    const moved = await easel.cancel(slow.id, { ifVersion: 999 }).catch((e) => e);
    assert.equal(moved.status, 412);
    assert.equal((await easel.cancel(slow.id)).status, "canceled");
    assert.equal((await easel.cancel(slow.id)).status, "canceled");

    await easel.delete(waited.id);
    assert.equal((await easel.get(waited.id).catch((e) => e)).status, 404);
    assert.ok((await easel.features()).some((f) => f.feature_type === "text-to-image"));
    assert.equal((await easel.providers())[0].id, "sketch");
  });

  test("files go in, and from job to job", async () => {
    for (const body of [pixel, new Blob([pixel], { type: "image/png" }), new Blob([pixel]).stream()]) {
      const file = await easel.upload(body, { mediaType: "image/png" });
      assert.equal(file.bytes, pixel.length);
      assert.deepEqual(await easel.getFile(file.id), file);
      const job = await easel.execute({ feature_type: "upscale", input_data: { image: uploadInput(file.id) } });
      const next = await easel.execute({ feature_type: "upscale", input_data: { image: artifactInput(job.id) } });
      assert.equal(next.result.artifacts.length, 1);
      await easel.deleteFile(file.id);
      assert.equal((await easel.getFile(file.id).catch((e) => e)).status, 404);
    }
    const refused = await easel.upload(new Uint8Array(2 << 20)).catch((e) => e);
    assert.equal(refused.status, 413);
    const unknown = await easel.enqueue({ feature_type: "upscale", input_data: { image: uploadInput("file_none") } }).catch((e) => e);
    assert.equal(unknown.errors[0].pointer, "#/input_data/image");
  });

  test("the example of the README compiles and runs", (t) => {
    const [, example] = /<!-- run: example -->\n```ts\n(.*?)\n```/s.exec(readFileSync(join(here, "README.md"), "utf8"));
    // Inside the package, so that its name leads to this tree.
    const dir = mkdtempSync(join(here, "example-"));
    t.after(() => rmSync(dir, { recursive: true }));
    writeFileSync(join(dir, "example.ts"), `declare const process: { env: Record<string, string | undefined> };\n${example}\n`);
    execFileSync(join(here, "node_modules/.bin/tsc"), ["--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom", "--strict", "example.ts"], { cwd: dir });
    const out = execFileSync(process.execPath, ["example.js"], { cwd: dir, encoding: "utf8", env: { ...process.env, EASEL_URL: url } });
    assert.match(out, /completed/);
    assert.match(out, /image\/png \d+ bytes/);
  });

  test("a lost answer makes no second job", async (t) => {
    let lost = 0;
    const proxy = await startProxy(t, url, (request) => (request.method === "POST" && lost++ === 0 ? "drop" : undefined));
    const through = new Easel({ baseUrl: proxy.url });
    const job = await through.enqueue({ ...picture, user_id: "lost" });
    const keys = proxy.seen.map((r) => r.headers["idempotency-key"]);
    assert.equal(keys.length, 2);
    assert.equal(keys[0], keys[1]);
    assert.deepEqual((await easel.list({ userId: "lost" })).jobs.map((j) => j.id), [job.id]);
    await through.enqueue({ ...picture, user_id: "lost" });
    assert.notEqual(proxy.seen.at(-1).headers["idempotency-key"], keys[0], "another call is another request");
  });

  test("a stream that is cut off is taken up where it was", async (t) => {
    let streams = 0;
    const proxy = await startProxy(t, url, (request) => (request.url.endsWith("/events") && streams++ < 2 ? "cut" : undefined));
    const versions = [];
    for await (const job of new Easel({ baseUrl: proxy.url }).watch((await easel.enqueue(simulated({ sync: false, duration_ms: 5000 }))).id)) {
      versions.push(job.version);
      if (isAtRest(job)) assert.equal(job.status, "completed");
    }
    assert.deepEqual(versions, [...new Set(versions)].sort((a, b) => a - b), "every version once, in order");
    const resumed = proxy.seen.filter((r) => r.path.endsWith("/events")).map((r) => r.headers["last-event-id"]);
    assert.ok(resumed.length >= 2);
    assert.equal(resumed[0], undefined);
    for (const id of resumed.slice(1)) assert.ok(Number(id) > 0);
  });

  for (const [name, what] of [["refused", 503], ["answered by somebody else", 200], ["held back", "hold"]]) {
    test(`events that are ${name} are made up for by polls`, async (t) => {
      const proxy = await startProxy(t, url, (request) => (request.url.endsWith("/events") ? what : undefined));
      const through = new Easel({ baseUrl: proxy.url });
      const job = await through.execute(simulated({ sync: false, duration_ms: 800 }), { idle: 300 });
      assert.equal(job.status, "completed");
      assert.ok(proxy.seen.filter((r) => r.path.endsWith("/events")).length <= 4, "it stops asking for what does not come");
    });
  }

  test("abort ends the wait and not the job, unless it shall", async () => {
    for (const cancelOnAbort of [false, true]) {
      const controller = new AbortController();
      let id;
      const error = await easel
        .execute(simulated({ sync: false, never: true }), {
          signal: controller.signal, cancelOnAbort,
          onProgress: (_, job) => { id = job.id; if (job.status === "processing") controller.abort(); },
        })
        .catch((e) => e);
      assert.equal(error.name, "AbortError");
      assert.equal((await easel.get(id)).status, cancelOnAbort ? "canceled" : "processing");
      if (!cancelOnAbort) await easel.cancel(id);
    }
  });

  test("what may not be repeated is not", async (t) => {
    let calls = 0;
    const proxy = await startProxy(t, url, () => (calls++ === 0 ? 503 : undefined));
    const through = new Easel({ baseUrl: proxy.url });
    const { job } = await easel.execute(simulated({ lose_answer: true, times: 1 })).catch((e) => e);
    const error = await through.resolve(job.id, { outcome: "not_created" }).catch((e) => e);
    assert.ok(error instanceof ProblemError);
    assert.equal(error.status, 503);
    assert.equal(calls, 1);
    calls = 0;
    assert.equal((await through.get(job.id)).id, job.id, "a read is");
    assert.equal(calls, 2);
    await easel.cancel(job.id);
  });
});

test("nobody there", async () => {
  const easel = new Easel({ baseUrl: "http://127.0.0.1:9", key: "secret-key", retries: 0 });
  const error = await easel.get("job_1").catch((e) => e);
  assert.ok(error instanceof UnreachableError);
  assert.ok(!String(error.stack).includes("secret-key"));
});

test("the address is checked", () => {
  for (const baseUrl of ["", "easel", "ftp://x", "https://user:secret@x", "https://x?key=secret"]) {
    assert.throws(() => new Easel({ baseUrl }), (error) => error instanceof EaselError && !error.message.includes("secret"));
  }
});

test("every call carries the key, and waits as long as it is told", async () => {
  const calls = [];
  const answers = [
    new Response("{}", { status: 429, headers: { "Retry-After": "0" } }),
    new Response(JSON.stringify({ status: 503, code: "unavailable", detail: "later" }), { status: 503, headers: { "Retry-After": "0" } }),
    new Response(JSON.stringify({ id: "job_1", status: "queued" }), { status: 202 }),
  ];
  const easel = new Easel({ baseUrl: "https://easel.test/base/", key: "k", fetch: async (url, init) => (calls.push([url, init]), answers.shift()) });
  assert.equal((await easel.enqueue(picture, { idempotencyKey: 'a"b', wait: 5 })).id, "job_1");
  assert.equal(calls.length, 3);
  for (const [url, init] of calls) {
    assert.equal(url, "https://easel.test/base/v1/jobs");
    assert.equal(init.headers.get("authorization"), "Bearer k");
    assert.equal(init.headers.get("idempotency-key"), '"a\\"b"');
    assert.equal(init.headers.get("prefer"), "wait=5");
    assert.equal(init.redirect, "error");
  }
});
