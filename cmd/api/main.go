// Command api runs the HTTP API, as one process of several
// that meet in Redis.
//
// # What it refuses to know
//
// What the API does. It names its flags and calls internal/app.
package main

import (
	"os"

	"github.com/easel-jobs/easel/internal/app"
)

var process = app.Process{Name: "api", Serve: app.API, Flags: []app.Flag{
	{Name: "listen", Setting: "api.listen", Usage: "`address` to listen on"},
	{Name: "metrics-listen", Setting: "metrics.listen", Usage: "`address` of its own for /metrics"},
}}

func main() { os.Exit(process.Main()) }
