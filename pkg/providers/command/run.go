package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
)

// run is one program's life.
type run struct {
	provider *Provider
	command  *command
	room     *room
	req      providers.Request
	heard    *heard
}

// The reasons why a program was ended by us.
var (
	errTimedOut = errors.New("the program did not end in its time")
	errUnwanted = errors.New("nobody wants the generation any more")
)

// reportEvery is how often it is told how far a program is, and asked whether
// it is still wanted.
const reportEvery = time.Second

func (one *run) do(ctx context.Context) (providers.Status, error) {
	values := one.command.values(one.req.Model, one.req.Input)
	if err := one.files(values); err != nil {
		return providers.Status{}, err
	}
	values["work"], values["output"] = one.room.dir, one.room.path("output")
	arguments, refused := one.command.render(values)
	if refused != "" {
		return providers.Status{}, one.provider.invalid("/input_data/"+refused, "must not begin with a dash: it would be taken for an option")
	}
	if tooLate(ctx) {
		return providers.Status{}, &classify.Error{
			Class: classify.Network, Provider: one.provider.name, Message: "the run was held back; nothing ran", Cause: providers.ErrNotCalled,
		}
	}
	cmd, output, err := one.prepare(arguments, values)
	if err != nil {
		return providers.Status{}, one.provider.notRun("the program cannot be started", err)
	}
	defer func() { _ = output.Close() }() // read to its end
	return one.outcome(one.execute(ctx, cmd, output))
}

// tooLate compares the deadline with both clocks: the monotonic one stands still
// while a machine sleeps.
func tooLate(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	now := time.Now()
	return ctx.Err() != nil || ok && (!now.Before(deadline) || !now.Round(0).Before(deadline.Round(0)))
}

// prepare makes the process and the pipe that it writes to.
func (one *run) prepare(arguments []string, values map[string]string) (*exec.Cmd, *os.File, error) {
	path, err := exec.LookPath(one.command.config.Program)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(path, arguments...) //nolint:noctx // its group is killed, and not it alone
	cmd.Dir, cmd.Env = one.room.dir, one.environment()
	cmd.ExtraFiles = []*os.File{one.room.mark}
	if len(one.command.stdin) > 0 {
		// A file, so that nobody has to wait for who reads it.
		written := one.room.path("stdin")
		if err := os.WriteFile(written, []byte(one.command.stdin.fill(values)), 0o600); err != nil {
			return nil, nil, err
		}
		stdin, err := os.Open(written)
		if err != nil {
			return nil, nil, err
		}
		cmd.Stdin = stdin
	}
	output, input, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd.Stdout, cmd.Stderr = input, input
	return cmd, output, nil
}

// environment is what the program sees: nothing of ours but where programs are.
func (one *run) environment() []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + one.room.dir, "TMPDIR=" + one.room.path("tmp"), "LANG=C.UTF-8", runVariable + "=" + one.room.dir,
	}, one.command.config.Environment...)
}

// runVariable names the run in the environment of its processes, so that those
// that have left their group are found too.
const runVariable = "EASEL_RUN"

// execute runs the program until it ends or has to. Whatever it has started
// ends with it.
func (one *run) execute(ctx context.Context, cmd *exec.Cmd, output *os.File) error {
	one.heard = newHeard(one.command)
	started, ended, read := make(chan error, 1), make(chan error, 1), make(chan struct{})
	go func() {
		// A process is killed with the thread that has started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := begin(cmd, one.command.config)
		closeFiles(cmd)
		started <- err
		if err == nil {
			ended <- reap(cmd)
		}
	}()
	if err := <-started; err != nil {
		return &startError{err}
	}
	go func() {
		defer close(read)
		one.heard.listen(output)
	}()
	why := one.watch(ctx, cmd.Process.Pid, ended)
	killAll(processesOf(one.room.dir))
	// All who could write are dead, so this is the end of what they wrote.
	_ = output.SetReadDeadline(time.Now().Add(time.Second)) // where the pipe takes none, it ends by itself
	<-read
	return why
}

// watch waits for the end, ends what has to end, and tells how far it is.
func (one *run) watch(ctx context.Context, group int, ended <-chan error) error {
	var why error
	stop := func(reason error) {
		if why == nil {
			why = reason
			killGroup(group)
		}
	}
	var timeout <-chan time.Time
	if limit := one.command.timeout(); limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		timeout = timer.C
	}
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	over := ctx.Done()
	for {
		select {
		case err := <-ended:
			if why != nil {
				return why
			}
			return err
		case <-over:
			stop(ctx.Err())
			over = nil
		case <-timeout:
			stop(errTimedOut)
		case <-ticker.C:
			if one.req.Report != nil && !one.req.Report(ctx, one.heard.percent(), "running") {
				stop(errUnwanted)
			}
		}
	}
}

func closeFiles(cmd *exec.Cmd) {
	for _, stream := range []any{cmd.Stdin, cmd.Stdout} {
		if file, ok := stream.(*os.File); ok {
			_ = file.Close() // the program has its own
		}
	}
}

type startError struct{ error }

// outcome says what the end of a program means.
func (one *run) outcome(err error) (providers.Status, error) {
	var start *startError
	var exit *exec.ExitError
	switch {
	case errors.As(err, &start):
		return providers.Status{}, one.provider.notRun("the program cannot be started", start.error)
	case errors.Is(err, errUnwanted), errors.Is(err, context.Canceled):
		return providers.Status{}, &classify.Error{Class: classify.Canceled, Provider: one.provider.name, Message: "the program was ended"}
	case errors.Is(err, errTimedOut), errors.Is(err, context.DeadlineExceeded):
		return one.failed(classify.GenerationFailed, "timed_out", "the program did not end in its time, and was killed"), nil
	case errors.As(err, &exit):
		return one.exited(exit), nil
	case err != nil:
		// How it ended cannot be known, but that it ended can.
		return one.failed(classify.GenerationFailed, "broken", "the program's end cannot be known"), nil //nolint:nilerr // a failed run is a Status
	}
	outputs, detail := collect(one.room.path("output"), one.command.config.MaxOutputs, one.command.config.MaxOutputBytes)
	if detail != "" {
		return one.failed(classify.GenerationFailed, "output_refused", detail), nil
	}
	if len(outputs) == 0 {
		return one.failed(classify.GenerationFailed, "no_output", "the program made no file"), nil
	}
	return providers.Status{State: providers.Succeeded, Outputs: outputs}, nil
}

func (one *run) exited(exit *exec.ExitError) providers.Status {
	class, code := one.command.classOf(exit.ExitCode()), fmt.Sprintf("exit_%d", exit.ExitCode())
	message := fmt.Sprintf("the program ended with exit code %d", exit.ExitCode())
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		class, code = classify.GenerationFailed, "killed"
		message = "the program was ended by a signal: " + status.Signal().String()
	}
	if last := one.heard.lastLine(); last != "" {
		message += ": " + last
	}
	return one.failed(class, code, message)
}

// failed is a run that took place and brought nothing. What the program said is
// quoted without what the caller wrote.
func (one *run) failed(class classify.Class, code, message string) providers.Status {
	var private []string
	for _, value := range one.req.Input {
		if text, ok := value.(string); ok {
			private = append(private, text)
		}
	}
	message = strings.ReplaceAll(message, one.room.dir, "")
	return providers.Status{State: providers.Failed, Failure: &classify.Error{
		Class: class, Code: code, Provider: one.provider.name, Message: providers.Presentable(message, private),
	}}
}
