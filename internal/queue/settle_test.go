package queue

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func TestSettle(t *testing.T) {
	t.Parallel()
	busy := errors.New("lumen: overloaded")
	for _, tc := range []struct {
		name    string
		answer  error
		archive bool
		failure bool
		delay   time.Duration
	}{
		{"retry", settle(orchestrator.Retry(busy, time.Minute)), false, true, time.Minute},
		{"retry at once", settle(orchestrator.Retry(busy, -time.Minute)), false, true, 0},
		{"retry, wrapped on the way", fmt.Errorf("middleware: %w", settle(orchestrator.Retry(busy, time.Minute))), false, true, time.Minute},
		{"archive", settle(orchestrator.Archive(busy)), true, true, unaskedDelay},
		{"newer record", settle(orchestrator.Retry(orchestrator.ErrNewerSchema, time.Minute)), false, false, time.Minute},
		{"lost lease", asynq.ErrLeaseExpired, false, false, unaskedDelay},
		{"cancelled", context.Canceled, false, false, unaskedDelay},
		{"time-out", context.DeadlineExceeded, false, true, unaskedDelay},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.archive, errors.Is(tc.answer, asynq.SkipRetry))
			require.Equal(t, tc.failure, isFailure(tc.answer))
			require.Equal(t, tc.delay, retryDelay(7, tc.answer, nil))
		})
	}
	require.NoError(t, settle(orchestrator.Done))
	require.ErrorIs(t, settle(orchestrator.Archive(busy)), busy)
	require.ErrorIs(t, settle(orchestrator.Retry(busy, 0)), busy)
}

func TestFamiliesServeEveryQueueOnce(t *testing.T) {
	t.Parallel()
	var served []string
	for _, f := range families(Concurrency{Submit: 1, Poll: 1, Finalize: 1, Deliver: 1}) {
		require.Positive(t, f.concurrency, f.name)
		for queue, weight := range f.queues {
			require.Positive(t, weight, queue)
			served = append(served, queue)
		}
	}
	require.ElementsMatch(t, tasks.Queues, served)
}
