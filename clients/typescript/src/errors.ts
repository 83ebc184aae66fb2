import type { Fault, Job, Problem } from "./types.js";

/** What all errors of this package are. */
export class EaselError extends Error {
  override name = "EaselError";
}

/** The server has refused a call. `code` never changes its meaning. */
export class ProblemError extends EaselError {
  override name = "ProblemError";
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly requestId: string;
  /** Everything that is wrong with the request, and where. */
  readonly errors: Fault[];
  /** How long the server asks to wait, in milliseconds; undefined when it does not say. */
  readonly retryAfter: number | undefined;

  constructor(status: number, problem: Partial<Problem>, retryAfter?: number) {
    super(problem.detail || problem.title || `the server answered ${status}`);
    this.status = status;
    this.code = problem.code ?? "";
    this.detail = problem.detail ?? "";
    this.requestId = problem.request_id ?? "";
    this.errors = problem.errors ?? [];
    this.retryAfter = retryAfter;
  }
}

/** The server could not be reached, or broke off. `cause` has the reason. */
export class UnreachableError extends EaselError {
  override name = "UnreachableError";
}

/** A job came to rest without completing; `job` says why. */
export class JobError extends EaselError {
  override name = "JobError";
  readonly job: Job;

  constructor(job: Job) {
    super(job.error?.message || `the job is ${job.status}`);
    this.job = job;
  }

  /** The kind of failure (`content_policy`, `rate_limit`, …), empty when the job did not fail. */
  get class(): string {
    return this.job.error?.class ?? "";
  }

  /** Whether the same request may succeed later. */
  get retryable(): boolean {
    return this.job.error?.retryable ?? false;
  }
}
