/**
 * Client of Easel, which runs AI generation jobs durably. Start at {@link Easel}.
 *
 * @packageDocumentation
 */
export { Easel } from "./client.js";
export type {
  CallOptions, DownloadOptions, EaselOptions, EnqueueOptions, ExecuteOptions, KeyedOptions, ListOptions, VersionOptions,
} from "./client.js";
export { EaselError, JobError, ProblemError, UnreachableError } from "./errors.js";
export { artifactInput, isAtRest, uploadInput, urlInput } from "./types.js";
export type {
  Artifact, BatchResult, Failure, Fault, Feature, Job, JobList, JobRequest, JobStatus, Problem, Progress, Provider, Resolution,
  Result, UploadedFile,
} from "./types.js";
export type { WatchOptions } from "./watch.js";
export type { components, operations, paths } from "./schema.js";
