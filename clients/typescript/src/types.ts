// The nouns, as the server's OpenAPI document describes them. schema.ts is
// generated from it: `npm run generate`.
import type { components } from "./schema.js";

type Schemas = components["schemas"];

/** A job as the server shows it. */
export type Job = Schemas["Job"];
/** What to ask for: only `feature_type` and `input_data` are required. */
export type JobRequest = Schemas["JobRequest"];
/** How far a job has come. */
export type Progress = Schemas["Progress"];
/** What a job has produced. */
export type Result = Schemas["Result"];
/** A file that a job has produced. */
export type Artifact = Schemas["Artifact"];
/** Why a job failed. */
export type Failure = Schemas["Failure"];
/** An uploaded file. */
export type UploadedFile = Schemas["File"];
/** What became of one request of a batch: the job, or why there is none. */
export type BatchResult = Schemas["BatchResult"];
/** A page of jobs, newest first. */
export type JobList = Schemas["JobList"];
/** A configured provider, and how it fares. */
export type Provider = Schemas["Provider"];
/** What kinds of generation there are, and who offers them. */
export type Feature = Schemas["FeatureInfo"];
/** A failure of the API, as problem details (RFC 9457). */
export type Problem = Schemas["Problem"];
/** One thing that is wrong with a request. */
export type Fault = Schemas["Fault"];
/** What an operator has found out about an unresolved job. */
export type Resolution = Schemas["ResolveRequest"];

/** The statuses of a job. There may be more one day. */
export type JobStatus = "queued" | "processing" | "completed" | "failed" | "canceled" | "unresolved";

const resting: readonly string[] = ["completed", "failed", "canceled", "unresolved"];

/** Whether nothing moves the job any more until somebody acts, or a late answer comes. */
export function isAtRest(job: Pick<Job, "status">): boolean {
  return resting.includes(job.status);
}

/** Where an input would hold a file: the uploaded one with that id. */
export function uploadInput(id: string): { file: string } {
  return { file: id };
}

/** Where an input would hold a file: what another job has produced. */
export function artifactInput(jobId: string, artifact = 0): { job: string; artifact: number } {
  return { job: jobId, artifact };
}

/** Where an input would hold a file: the server fetches it once, when it takes the request. */
export function urlInput(url: string): { file: string } {
  return { file: url };
}
