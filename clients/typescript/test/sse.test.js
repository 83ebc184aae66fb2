import assert from "node:assert/strict";
import { test } from "node:test";
import { EventParser } from "../dist/sse.js";
import { retryAfter } from "../dist/transport.js";

test("events come out the same however the stream is cut", () => {
  const text = "\ufeffretry: 2000\n\n: heartbeat\n\nevent: job\nid: 3\ndata: {\"a\":\ndata: 1}\n\ndata:x\r\n\r\nevent: lost\n\ndata\rid: 4\r\r";
  const want = [
    { event: "job", data: '{"a":\n1}', id: "3" },
    { event: "message", data: "x", id: "3" },
    { event: "message", data: "", id: "4" },
  ];
  for (let size = 1; size <= text.length; size++) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < text.length; at += size) events.push(...parser.push(text.slice(at, at + size)));
    events.push(...parser.push("\n")); // the end of a CRLF that was cut
    assert.deepEqual(events, want, `in pieces of ${size}`);
    assert.equal(parser.retry, 2000);
  }
});

test("an event that was not ended is not told", () => {
  assert.deepEqual(new EventParser().push("data: half"), []);
  assert.deepEqual(new EventParser().push("data: whole\n"), []);
});

test("Retry-After", () => {
  const of = (value) => retryAfter(new Headers(value === undefined ? {} : { "Retry-After": value }), Date.parse("2026-01-01T00:00:00Z"));
  assert.equal(of("3"), 3000);
  assert.equal(of("Thu, 01 Jan 2026 00:00:07 GMT"), 7000);
  assert.equal(of("999999999"), 3_600_000);
  for (const value of [undefined, "", "-1", "soon", "1e9", "Wed, 31 Dec 2025 00:00:00 GMT"]) assert.equal(of(value), undefined, value);
});
