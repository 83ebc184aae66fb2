//go:build !easel_http

package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// callerRedis makes this test binary a caller of its own, to be killed.
const callerRedis = "EASEL_TEST_CALLER_REDIS"

func TestMain(m *testing.M) {
	if url := os.Getenv(callerRedis); url != "" {
		fmt.Fprintln(os.Stderr, call(url))
		os.Exit(1) // it was to be killed meanwhile
	}
	os.Exit(m.Run())
}

// named is the request of the caller that is killed, and of who comes after it.
func named() client.Request {
	return client.Request{
		FeatureType: "text-to-text", InputData: map[string]any{"prompt": "hello"}, IdempotencyKey: "order-42",
	}
}

// call executes the request, and says the job's id once the provider is at it.
func call(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, err := client.Connect(ctx, url)
	if err != nil {
		return err
	}
	said := false
	_, err = c.Execute(ctx, named(), client.OnProgress(func(p client.Progress) {
		if p.Status == tasks.StatusProcessing && !said {
			said = true
			fmt.Println(p.JobID)
		}
	}))
	return errors.Join(errors.New("the call came to its end"), err, c.Close())
}

// TestKilledCallerIsFollowedByAnother kills a process in the middle of Execute.
// The job goes on: others get its result, by the job's id and by the request's
// name, and the provider was called once.
func TestKilledCallerIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	db := redistest.Start(t)
	var calls atomic.Int32
	finish := make(chan struct{})
	spec := echo("echo")
	answer := spec.Execute
	spec.Execute = func(ctx context.Context, r client.ProviderRequest) (*client.ProviderResult, error) {
		calls.Add(1)
		select {
		case <-finish:
			return answer(ctx, r)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	worker, err := client.Connect(ctx, db.URL(), client.WithWorker(), client.WithDataDir(t.TempDir()), client.WithProvider(spec))
	require.NoError(t, err)
	defer worker.Close()
	finishes := sync.OnceFunc(func() { close(finish) })
	defer finishes() // before the worker closes, which waits for its calls

	id := killWhileItWaits(t, db.URL())
	job, err := worker.Get(ctx, id)
	require.NoError(t, err)
	require.Equal(t, tasks.StatusProcessing, job.Status)

	other, err := client.Connect(ctx, db.URL())
	require.NoError(t, err)
	defer other.Close()
	// The provider answers once both follow the job.
	var following sync.WaitGroup
	following.Add(2)
	follow := func(how func(...client.ExecuteOption) (*client.GenerationResult, error)) (*client.GenerationResult, error) {
		follows := sync.OnceFunc(following.Done)
		defer follows()
		return how(client.OnProgress(func(client.Progress) { follows() }))
	}
	var results [2]*client.GenerationResult
	var errs [2]error
	var calling sync.WaitGroup
	calling.Go(func() {
		results[0], errs[0] = follow(func(o ...client.ExecuteOption) (*client.GenerationResult, error) {
			return other.Attach(ctx, id, o...)
		})
	})
	calling.Go(func() {
		results[1], errs[1] = follow(func(o ...client.ExecuteOption) (*client.GenerationResult, error) {
			return other.Execute(ctx, named(), o...)
		})
	})
	following.Wait()
	finishes()
	calling.Wait()
	for i, result := range results {
		require.NoError(t, errs[i])
		require.Equal(t, id, result.JobID)
		require.Equal(t, 1, result.Attempts)
		require.Len(t, result.Artifacts, 1)
	}
	page, err := other.List(ctx, client.Query{})
	require.NoError(t, err)
	require.Len(t, page.Jobs, 1)
	require.EqualValues(t, 1, calls.Load(), "calls of the provider")
}

// killWhileItWaits runs a caller, kills it while the provider works for it, and
// returns the id of its job.
func killWhileItWaits(t *testing.T, url string) string {
	t.Helper()
	caller := exec.Command(os.Args[0])
	caller.Env = append(os.Environ(), callerRedis+"="+url)
	caller.Stderr = os.Stderr
	out, err := caller.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, caller.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = caller.Process.Kill() // it may have ended, which the next lines see
	ended, _ := errors.AsType[*exec.ExitError](caller.Wait())
	require.NoError(t, err)
	require.NotNil(t, ended)
	require.Equal(t, syscall.SIGKILL, ended.Sys().(syscall.WaitStatus).Signal())
	return strings.TrimSpace(line)
}
