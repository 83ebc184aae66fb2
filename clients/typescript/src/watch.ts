import { ProblemError, UnreachableError } from "./errors.js";
import { EventParser } from "./sse.js";
import { backoff, sleep, throwIfAborted, type Transport } from "./transport.js";
import { isAtRest, type Job } from "./types.js";

export interface WatchOptions {
  /** Yield versions after this one only. */
  after?: number;
  signal?: AbortSignal | undefined;
  /** How long the server may be out of reach before that is an error, in milliseconds (2 minutes). */
  patience?: number;
  /** How long a stream may be silent before it counts as dead (45 seconds: three heartbeats). */
  idle?: number;
}

const firstPoll = 500;
const slowestPoll = 5_000;

/** Streams that brought nothing in a row, after which it is polled only: something in between holds them back. */
const silentStreams = 2;

/**
 * Yields the job whenever it is newer than what was yielded before, until it is
 * at rest. It listens to the job's events, comes back with Last-Event-ID when
 * they are cut off, and polls where they do not come through.
 */
export async function* watch(transport: Transport, id: string, options: WatchOptions = {}): AsyncGenerator<Job, void, undefined> {
  const state: State = { version: options.after ?? 0, silent: 0, retry: undefined, rested: false };
  const patience = options.patience ?? 120_000;
  let lastHeard = Date.now();
  let failures = 0;
  let polls = 0;
  for (;;) {
    let heard = false;
    try {
      if (state.silent < silentStreams) {
        for await (const job of stream(transport, id, state, options)) {
          heard = true;
          yield job;
          if (isAtRest(job)) return;
        }
      }
      const job = await read(transport, id, state, options.signal);
      heard = true;
      if (job) {
        yield job;
        if (isAtRest(job)) return;
      } else if (state.rested) {
        return;
      }
    } catch (error) {
      throwIfAborted(options.signal);
      if (!passing(error)) throw error;
      if (!heard && Date.now() - lastHeard > patience) throw error;
    }
    if (heard) {
      lastHeard = Date.now();
      failures = 0;
    } else {
      failures++;
    }
    await sleep(pause(state, failures, polls), options.signal);
    if (state.silent >= silentStreams) polls++;
  }
}

/** How long to wait before looking again. */
function pause(state: State, failures: number, polls: number): number {
  if (failures > 0) return backoff(failures);
  if (state.silent < silentStreams) return state.retry ?? firstPoll;
  return Math.min(firstPoll * 1.5 ** polls, slowestPoll);
}

/** What is known between one connection and the next. */
interface State {
  version: number;
  /** How many streams in a row have brought nothing. */
  silent: number;
  /** How long the server asks to wait before a stream is opened again. */
  retry: number | undefined;
  /** Whether the job was at rest when it was last read. */
  rested: boolean;
}

/** Whether it may be better in a while. */
function passing(error: unknown): boolean {
  if (error instanceof UnreachableError) return true;
  return error instanceof ProblemError && (error.status === 429 || error.status >= 500);
}

/** One connection to the job's events. It ends when they do, or when they cannot be had. */
async function* stream(transport: Transport, id: string, state: State, options: WatchOptions): AsyncGenerator<Job, void, undefined> {
  const connection = new AbortController();
  const hangUp = () => connection.abort(options.signal?.reason);
  options.signal?.addEventListener("abort", hangUp, { once: true });
  const idle = options.idle ?? 45_000;
  let silence = setTimeout(hangUp, idle);
  let brought = false;
  try {
    const response = await transport.send({
      method: "GET",
      path: ["v1", "jobs", id, "events"],
      headers: { Accept: "text/event-stream", ...(state.version > 0 ? { "Last-Event-ID": String(state.version) } : {}) },
      signal: connection.signal,
    });
    if (response.status === 204) return;
    if (!response.body || !response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
      state.silent = silentStreams; // somebody in between answers something else
      await response.body?.cancel();
      return;
    }
    const parser = new EventParser();
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      brought = true;
      clearTimeout(silence);
      silence = setTimeout(hangUp, idle);
      for (const event of parser.push(decoder.decode(value, { stream: true }))) {
        if (event.event !== "job") continue;
        state.retry = parser.retry;
        const job = JSON.parse(event.data) as Job;
        if (job.version <= state.version) continue;
        state.version = job.version;
        yield job;
      }
    }
  } catch (error) {
    // A stream that is cut off is no failure yet: the read that follows tells.
    throwIfAborted(options.signal);
    if (error instanceof ProblemError && !passing(error)) throw error;
  } finally {
    state.silent = brought ? 0 : state.silent + 1;
    clearTimeout(silence);
    options.signal?.removeEventListener("abort", hangUp);
    connection.abort();
  }
}

/** Reads the job once; undefined when it is not newer. */
async function read(transport: Transport, id: string, state: State, signal: AbortSignal | undefined): Promise<Job | undefined> {
  const job = await transport.json<Job>({ method: "GET", path: ["v1", "jobs", id], repeatable: true, signal });
  state.rested = isAtRest(job);
  if (job.version <= state.version) return undefined;
  state.version = job.version;
  return job;
}
