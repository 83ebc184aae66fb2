import { ProblemError, UnreachableError } from "./errors.js";
import type { Problem } from "./types.js";

/** One call, and whether it may be sent twice. */
export interface Call {
  method: string;
  /** The path's segments, as they are. */
  path: readonly string[];
  query?: URLSearchParams;
  headers?: Record<string, string>;
  body?: BodyInit;
  /** A second request does no harm when the first was carried out and only its answer was lost. */
  repeatable?: boolean;
  signal?: AbortSignal | undefined;
}

export interface TransportOptions {
  baseUrl: string;
  key: string | undefined;
  retries: number;
  fetch: typeof globalThis.fetch;
}

const firstWait = 250;
const maxWait = 10_000;

/** Sends calls, and repeats those that may be repeated. */
export class Transport {
  constructor(private readonly options: TransportOptions) {}

  /** Does the call and returns an answer with a status below 300, or 304. */
  async send(call: Call): Promise<Response> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.once(call);
      } catch (error) {
        const wait = this.again(call, error, attempt);
        if (wait === undefined) throw error;
        await sleep(wait, call.signal);
      }
    }
  }

  /** Does the call and decodes its answer. */
  async json<T>(call: Call): Promise<T> {
    const response = await this.send(call);
    try {
      return (await response.json()) as T;
    } catch (cause) {
      throwIfAborted(call.signal);
      throw new UnreachableError("the server's answer cannot be read", { cause });
    }
  }

  private async once(call: Call): Promise<Response> {
    throwIfAborted(call.signal);
    const init: RequestInit = {
      method: call.method,
      headers: this.headers(call),
      // A redirect would make a look at a list of a request for work.
      redirect: call.method === "GET" ? "follow" : "error",
      credentials: "omit",
      cache: "no-store",
    };
    if (call.signal) init.signal = call.signal;
    if (call.body !== undefined) init.body = call.body;
    if (typeof ReadableStream !== "undefined" && call.body instanceof ReadableStream) {
      Object.assign(init, { duplex: "half" }); // fetch asks for it, its types do not know it
    }
    let response: Response;
    try {
      response = await this.options.fetch(this.url(call), init);
    } catch (cause) {
      throwIfAborted(call.signal);
      throw new UnreachableError("the server cannot be reached", { cause });
    }
    if (response.status >= 300 && response.status !== 304) throw await readProblem(response);
    return response;
  }

  private url(call: Call): string {
    const path = call.path.map(segment).join("/");
    const query = call.query?.toString();
    return `${this.options.baseUrl}/${path}${query ? `?${query}` : ""}`;
  }

  private headers(call: Call): Headers {
    const headers = new Headers(call.headers);
    if (!headers.has("Accept")) headers.set("Accept", "application/json, application/problem+json");
    if (this.options.key) headers.set("Authorization", `Bearer ${this.options.key}`);
    return headers;
  }

  /** How long to wait before the call is repeated; undefined when it is not. */
  private again(call: Call, error: unknown, attempt: number): number | undefined {
    if (attempt > this.options.retries) return undefined;
    if (error instanceof ProblemError) {
      const unavailable = error.status === 502 || error.status === 503 || error.status === 504;
      if (error.status !== 429 && !(unavailable && call.repeatable)) return undefined;
      return error.retryAfter ?? backoff(attempt);
    }
    return error instanceof UnreachableError && call.repeatable ? backoff(attempt) : undefined;
  }
}

/** Keeps an id in its place whatever it holds: "../providers" is the name of no job. */
function segment(text: string): string {
  return text === "" || text === "." || text === ".." ? "%00" : encodeURIComponent(text);
}

/** Doubles with every try, and is spread by a half so that many clients do not come back at once. */
export function backoff(attempt: number): number {
  const wait = Math.min(firstWait * 2 ** Math.min(attempt - 1, 10), maxWait);
  return wait / 2 + Math.random() * (wait / 2);
}

async function readProblem(response: Response): Promise<ProblemError> {
  let problem: Partial<Problem> = {};
  try {
    const body: unknown = await response.json();
    if (typeof body === "object" && body !== null) problem = body as Partial<Problem>;
  } catch {
    // Not ours: a proxy's page. The status says enough.
  }
  return new ProblemError(response.status, problem, retryAfter(response.headers));
}

/** Retry-After in milliseconds, as seconds or as a date; at most an hour. */
export function retryAfter(headers: Headers, now = Date.now()): number | undefined {
  const value = headers.get("Retry-After")?.trim();
  if (!value) return undefined;
  const wait = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isFinite(wait) && wait >= 0 ? Math.min(wait, 3_600_000) : undefined;
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw signal.reason;
}

/** Waits, or rejects with the signal's reason. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
