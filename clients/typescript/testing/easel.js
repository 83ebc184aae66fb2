// A real Easel for the tests: built from this tree, on a free port, with a data
// directory of its own.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Starts a server: where it is, and what stops it. */
export async function startEasel() {
  const dir = mkdtempSync(join(tmpdir(), "easel-ts-"));
  const program = process.env.EASEL_BIN ?? join(dir, "easel");
  if (!process.env.EASEL_BIN) execFileSync("go", ["build", "-o", program, "./cmd/easel"], { cwd: root, stdio: "inherit" });
  const config = join(dir, "easel.yaml");
  writeFileSync(config, `
data_dir: ${join(dir, "data")}
api: {listen: "127.0.0.1:0", max_file: 1MiB}
dashboard: {listen: "127.0.0.1:0"}
defaults: {retry_delay: 100ms}
worker: {submit_timeout: 10s, shutdown_timeout: 15s}
providers:
  - name: sketch
    options: {allow_simulate: true, lookup: false, min_duration_ms: 200, max_duration_ms: 400}
log: {level: error}
`);
  const child = spawn(program, ["up", "--config", config], { cwd: dir, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
    rmSync(dir, { recursive: true, force: true });
  };
  const url = await new Promise((resolve, reject) => {
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      said += text;
      const found = /API\s+(http:\/\/\S+)/.exec(said);
      if (found && said.includes("Ctrl-C")) resolve(found[1]);
    });
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`easel up ended with ${code}: ${said}`)));
  });
  return { url, stop };
}

/**
 * A proxy to the server that a test can have misbehave: `meddle(request)` returns
 * "drop" (the server gets the request, its answer is lost), "cut" (the answer
 * breaks off after its first piece), "hold" (no piece of the answer comes), a
 * status to answer instead, or nothing.
 */
export async function startProxy(t, target, meddle) {
  const seen = [];
  const sockets = new Set();
  const server = createServer((incoming, outgoing) => {
    seen.push({ method: incoming.method, path: incoming.url, headers: incoming.headers });
    const what = meddle(incoming, seen);
    if (typeof what === "number") {
      incoming.resume();
      outgoing.writeHead(what, { "Content-Type": "text/html", "Retry-After": "0" });
      outgoing.end("<html>not Easel</html>");
      return;
    }
    const { hostname, port } = new URL(target);
    const forward = httpRequest({ hostname, port, method: incoming.method, path: incoming.url, headers: { ...incoming.headers, host: `${hostname}:${port}` } });
    forward.on("response", (answer) => {
      if (what === "drop") {
        answer.resume();
        answer.on("end", () => outgoing.destroy());
        return;
      }
      if (what === "hold") {
        answer.resume();
        outgoing.writeHead(answer.statusCode, answer.headers);
        outgoing.flushHeaders();
        return;
      }
      outgoing.writeHead(answer.statusCode, answer.headers);
      if (what === "cut") {
        answer.once("data", (piece) => outgoing.write(piece, () => { forward.destroy(); outgoing.destroy(); }));
        return;
      }
      answer.pipe(outgoing);
    });
    forward.on("error", () => outgoing.destroy());
    outgoing.on("close", () => forward.destroy());
    incoming.pipe(forward);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${server.address().port}`, seen };
}
