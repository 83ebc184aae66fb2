// Command easel runs a whole Easel in one process (up, demo), and speaks to one
// that runs elsewhere (submit, jobs, providers).
//
// # What it refuses to know
//
// How jobs are run. It starts internal/app and talks to the HTTP API through
// pkg/client, as any other program would.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The second Ctrl-C does not wait for anything.
	context.AfterFunc(ctx, stop)
	p := &program{
		stdout: os.Stdout, stderr: os.Stderr, lookupEnv: os.LookupEnv,
		interactive: interactive(os.Stderr, os.LookupEnv), up: up, version: version(),
	}
	code := p.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// interactive reports whether a person looks at the file, on a terminal that
// can redraw a line.
func interactive(file *os.File, lookupEnv func(string) (string, bool)) bool {
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	term, _ := lookupEnv("TERM")
	return term != "" && term != "dumb" && file.Name() != os.DevNull
}
