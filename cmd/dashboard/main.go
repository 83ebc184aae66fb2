// Command dashboard runs the operators' dashboard, as one process of several
// that meet in Redis.
//
// # What it refuses to know
//
// What the dashboard shows. It names its flags and calls internal/app.
package main

import (
	"os"

	"github.com/easel-jobs/easel/internal/app"
)

var process = app.Process{Name: "dashboard", Serve: app.Dashboard, Flags: []app.Flag{
	{Name: "listen", Setting: "dashboard.listen", Usage: "`address` to listen on"},
}}

func main() { os.Exit(process.Main()) }
