// Command worker runs a worker, as one process of several
// that meet in Redis.
//
// # What it refuses to know
//
// What a worker does. It names its flags and calls internal/app.
package main

import (
	"os"

	"github.com/easel-jobs/easel/internal/app"
)

var process = app.Process{Name: "worker", Serve: app.Worker, Flags: []app.Flag{
	{Name: "metrics-listen", Setting: "metrics.listen", Usage: "`address` of its own for /metrics"},
}}

func main() { os.Exit(process.Main()) }
