// Package httpapi is Easel over HTTP: it decodes a request, calls one method of
// the engine, and encodes the answer. The routes stand in one list
// ([server.routes]), each noun has its file, and the operations and their types
// are the OpenAPI document that the server shows at /openapi.json and, for
// reading, at /docs.
//
// Every failure leaves as a problem (RFC 9457) with a stable code and the
// request's id. A problem names what was wrong and where it stood; it never
// repeats a value that the caller sent.
//
// # What it refuses to know
//
// How a job moves, where it is stored and who generates it: handlers hold no
// rules. It knows no Redis, no queue and no configuration file, and it logs
// neither bodies nor query strings, since those carry prompts and signatures.
package httpapi
