import { EaselError, JobError, ProblemError, UnreachableError } from "./errors.js";
import { sleep, Transport, type Call } from "./transport.js";
import type { BatchResult, Feature, Job, JobList, JobRequest, JobStatus, Progress, Provider, Resolution, UploadedFile } from "./types.js";
import { isAtRest } from "./types.js";
import { watch, type WatchOptions } from "./watch.js";

export interface EaselOptions {
  /** Where the server is, such as `https://easel.example.com`. */
  baseUrl: string;
  /** A key of the server's configuration. Not needed where it has none. Keep it out of browsers. */
  key?: string;
  /** How often a call is repeated (4). */
  retries?: number;
  /** What sends requests; the platform's `fetch` when left out. */
  fetch?: typeof globalThis.fetch;
}

export interface CallOptions {
  signal?: AbortSignal;
}

export interface KeyedOptions extends CallOptions {
  /**
   * A name for the call: repeating it gives the same job. Every call has one of
   * its own when this is left out, which its own repetitions use again.
   */
  idempotencyKey?: string;
}

export interface EnqueueOptions extends KeyedOptions {
  /** Answer only when the job is at rest, or after so many seconds (60 at most). */
  wait?: number;
}

export interface VersionOptions extends CallOptions {
  /** Refuse (412) when the job is not at this version any more. */
  ifVersion?: number;
}

export interface ExecuteOptions extends KeyedOptions, Pick<WatchOptions, "patience" | "idle"> {
  /** Called with every change. */
  onProgress?: (progress: Progress, job: Job) => void;
  /** Cancel the job when `signal` is aborted. Otherwise it goes on, and can be attached to by its id. */
  cancelOnAbort?: boolean;
}

export interface ListOptions extends CallOptions {
  status?: JobStatus | JobStatus[];
  userId?: string;
  featureType?: string;
  providerId?: string;
  createdAfter?: Date;
  createdBefore?: Date;
  /** Of one page, 1 to 100. */
  limit?: number;
  cursor?: string;
  includeInput?: boolean;
}

export interface DownloadOptions extends CallOptions {
  /** The bytes that are wanted, such as `bytes=0-1023`. */
  range?: string;
}

/** Speaks to one Easel server. */
export class Easel {
  private readonly transport: Transport;

  constructor(options: EaselOptions) {
    let base: URL;
    try {
      base = new URL(options.baseUrl);
    } catch {
      throw new EaselError("baseUrl is not a URL");
    }
    if (!/^https?:$/.test(base.protocol)) throw new EaselError("baseUrl must begin with http:// or https://");
    if (base.username || base.password || base.search || base.hash) {
      throw new EaselError("baseUrl must not have a user, query or fragment; the key is given apart");
    }
    this.transport = new Transport({
      baseUrl: base.href.replace(/\/+$/, ""),
      key: options.key,
      retries: Math.max(options.retries ?? 4, 0),
      // Bound to its own global: browsers refuse it otherwise.
      fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    });
  }

  /**
   * Asks for a job, follows it, and returns it once it has completed. A job that
   * ends otherwise is a {@link JobError}. The job is the server's worry from the
   * first moment: when this process ends, another can `attach` to it by its id.
   */
  async execute(request: JobRequest, options: ExecuteOptions = {}): Promise<Job> {
    const job = await this.enqueue(request, options);
    return this.follow(job, options);
  }

  /** Follows a job that is there already to its end, as {@link execute} does. */
  async attach(id: string, options: Omit<ExecuteOptions, "idempotencyKey"> = {}): Promise<Job> {
    return this.follow(await this.get(id, options), options);
  }

  private async follow(job: Job, options: ExecuteOptions): Promise<Job> {
    options.onProgress?.(job.progress, job);
    try {
      if (!isAtRest(job)) {
        for await (const newer of watch(this.transport, job.id, { ...options, after: job.version })) {
          job = newer;
          options.onProgress?.(job.progress, job);
        }
      }
    } catch (error) {
      if (options.signal?.aborted && options.cancelOnAbort) await this.cancelQuietly(job.id);
      throw error;
    }
    if (job.status !== "completed") throw new JobError(job);
    return job;
  }

  /** Cancels for somebody who is not interested any more; that the job has ended meanwhile is no matter. */
  private async cancelQuietly(id: string): Promise<void> {
    try {
      await this.cancel(id);
    } catch (error) {
      if (!(error instanceof EaselError)) throw error;
    }
  }

  /** Asks for a job. Once it has resolved, the job comes to rest whatever happens. */
  enqueue(request: JobRequest, options: EnqueueOptions = {}): Promise<Job> {
    const headers = keyed(options);
    if (options.wait !== undefined) headers["Prefer"] = `wait=${Math.floor(options.wait)}`;
    return this.post<Job>(["v1", "jobs"], request, headers, options.signal, true);
  }

  /** Asks for up to 1,000 jobs and returns what became of each, in order. */
  async enqueueBatch(requests: JobRequest[], options: KeyedOptions = {}): Promise<BatchResult[]> {
    const answer = await this.post<{ results: BatchResult[] }>(
      ["v1", "jobs", "batch"], { jobs: requests }, keyed(options), options.signal, true,
    );
    return answer.results;
  }

  /** The job as it is now. */
  get(id: string, options: CallOptions = {}): Promise<Job> {
    return this.read<Job>(["v1", "jobs", id], options);
  }

  /** A page of jobs, newest first. */
  list(options: ListOptions = {}): Promise<JobList> {
    return this.read<JobList>(["v1", "jobs"], options, query(options));
  }

  /** Every job that the options select, page by page. */
  async *all(options: ListOptions = {}): AsyncGenerator<Job, void, undefined> {
    for (let cursor = options.cursor; ; ) {
      const page = await this.list(cursor === undefined ? options : { ...options, cursor });
      yield* page.jobs;
      if (page.next_cursor === null) return;
      cursor = page.next_cursor;
    }
  }

  /**
   * The job whenever it has changed, until it is at rest. Versions may be
   * skipped: it is a stream of states.
   */
  watch(id: string, options: WatchOptions = {}): AsyncGenerator<Job, void, undefined> {
    return watch(this.transport, id, options);
  }

  /** Ends a job for good. One that is canceled already is no error; one that has ended is (409). */
  cancel(id: string, options: VersionOptions = {}): Promise<Job> {
    return this.post<Job>(["v1", "jobs", id, "cancel"], undefined, version(options), options.signal, true);
  }

  /**
   * Starts a failed or unresolved job again. `resume` buys nothing, `regenerate`
   * asks the provider anew; left out, it resumes when there is something to.
   */
  retry(id: string, options: KeyedOptions & VersionOptions & { mode?: "resume" | "regenerate" } = {}): Promise<Job> {
    const headers = { ...keyed(options), ...version(options) };
    return this.post<Job>(["v1", "jobs", id, "retry"], options.mode ? { mode: options.mode } : {}, headers, options.signal, true);
  }

  /** Settles an unresolved job. The key needs the scope `operate`. */
  resolve(id: string, resolution: Resolution, options: VersionOptions = {}): Promise<Job> {
    return this.post<Job>(["v1", "jobs", id, "resolve"], resolution, version(options), options.signal, false);
  }

  /** Erases a job at rest: its record, inputs and artifacts. */
  async delete(id: string, options: VersionOptions = {}): Promise<void> {
    await this.erase(["v1", "jobs", id], version(options), options.signal);
  }

  /** A file that a job has produced. Its body is a stream; `blob()` and `arrayBuffer()` read it whole. */
  download(id: string, artifact = 0, options: DownloadOptions = {}): Promise<Response> {
    const headers: Record<string, string> = { Accept: "*/*" };
    if (options.range) headers["Range"] = options.range;
    return this.transport.send({
      method: "GET", path: ["v1", "jobs", id, "artifacts", String(artifact)], headers, repeatable: true, signal: options.signal,
    });
  }

  /** Uploads a file for requests to be made from: `{ image: uploadInput(file.id) }`. */
  upload(file: Blob | ArrayBuffer | Uint8Array | ReadableStream<Uint8Array>, options: CallOptions & { mediaType?: string } = {}): Promise<UploadedFile> {
    const claimed = file instanceof Blob ? file.type : "";
    return this.transport.json<UploadedFile>({
      method: "POST", path: ["v1", "files"], body: file as BodyInit,
      headers: { "Content-Type": options.mediaType || claimed || "application/octet-stream" },
      // What was uploaded twice expires by itself; a stream can be read once.
      repeatable: !(file instanceof ReadableStream), signal: options.signal,
    });
  }

  /** What an uploaded file is, and when it expires. */
  getFile(id: string, options: CallOptions = {}): Promise<UploadedFile> {
    return this.read<UploadedFile>(["v1", "files", id], options);
  }

  /** Erases an uploaded file. Jobs that were made from it have copies. */
  async deleteFile(id: string, options: CallOptions = {}): Promise<void> {
    await this.erase(["v1", "files", id], {}, options.signal);
  }

  /** What is configured, and how it fares. */
  async providers(options: CallOptions = {}): Promise<Provider[]> {
    return (await this.read<{ providers: Provider[] }>(["v1", "providers"], options)).providers;
  }

  /** What can be asked for. */
  async features(options: CallOptions = {}): Promise<Feature[]> {
    return (await this.read<{ features: Feature[] }>(["v1", "features"], options)).features;
  }

  private read<T>(path: string[], options: CallOptions, parameters?: URLSearchParams): Promise<T> {
    const call: Call = { method: "GET", path, repeatable: true, signal: options.signal };
    if (parameters) call.query = parameters;
    return this.transport.json<T>(call);
  }

  private post<T>(path: string[], body: unknown, headers: Record<string, string>, signal: AbortSignal | undefined, repeatable: boolean): Promise<T> {
    const call: Call = { method: "POST", path, headers, repeatable, signal };
    if (body !== undefined) {
      call.body = JSON.stringify(body);
      headers["Content-Type"] = "application/json";
    }
    return this.transport.json<T>(call);
  }

  /** Erases. That it is gone at the second try is what the first one did. */
  private async erase(path: string[], headers: Record<string, string>, signal: AbortSignal | undefined): Promise<void> {
    const call: Call = { method: "DELETE", path, headers, signal };
    try {
      await this.transport.send(call);
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error;
      await sleep(250, signal);
      try {
        await this.transport.send({ ...call, repeatable: true });
      } catch (second) {
        if (!(second instanceof ProblemError) || second.status !== 404) throw second;
      }
    }
  }
}

/** The headers of a call that has an idempotency key in any case. */
function keyed(options: KeyedOptions): Record<string, string> {
  const key = options.idempotencyKey ?? randomKey();
  // Quoted, so that a key of any characters is read as it was given.
  return { "Idempotency-Key": `"${key.replace(/["\\]/g, "\\$&")}"` };
}

/** 128 random bits. `crypto.randomUUID` would ask for a secure context in browsers. */
function randomKey(): string {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function version(options: VersionOptions): Record<string, string> {
  return options.ifVersion === undefined ? {} : { "If-Match": `"${options.ifVersion}"` };
}

function query(options: ListOptions): URLSearchParams {
  const parameters = new URLSearchParams();
  const set = (name: string, value: string | number | undefined) => {
    if (value !== undefined) parameters.set(name, String(value));
  };
  for (const status of [options.status ?? []].flat()) parameters.append("status", status);
  set("user_id", options.userId);
  set("feature_type", options.featureType);
  set("provider_id", options.providerId);
  set("created_after", options.createdAfter?.toISOString());
  set("created_before", options.createdBefore?.toISOString());
  set("limit", options.limit);
  set("cursor", options.cursor);
  if (options.includeInput) set("include", "input");
  return parameters;
}
