package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// TestRun measures everything once, in small, and looks whether every place in
// the report is filled. What the values are is the machine's business; what a
// job costs in round trips is not.
func TestRun(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	args := []string{
		"-rounds", "2", "-jobs", "40", "-waiting", "200", "-naps", "2", "-sprint", "50ms", "-steady", "200ms", "-idle", "300ms",
		"-concurrency", "32", "-dir", t.TempDir(), "-json",
	}
	require.NoError(t, run(t.Context(), args, &out, io.Discard))
	var found report
	require.NoError(t, json.Unmarshal(out.Bytes(), &found))

	require.Len(t, found.Timed, 7)
	for _, table := range found.Timed {
		require.NotNil(t, table.row(table.Baseline), table.Title)
		require.GreaterOrEqual(t, len(table.Rows), 2, table.Title)
		for _, s := range table.Rows {
			require.Len(t, s.Rounds, 2, "%s: %s", table.Title, s.Name)
			require.Positive(t, median(s.Rounds), "%s: %s", table.Title, s.Name)
			require.Positive(t, table.ratio(s), "%s: %s", table.Title, s.Name)
		}
	}
	requireTraffic(t, found.Traffic)
	require.Len(t, found.Memory.Rows, 2)
	for _, row := range found.Memory.Rows {
		require.Greater(t, row.BytesPerJob, float64(found.Memory.Payload), row.Name)
	}

	var page bytes.Buffer
	require.NoError(t, found.writeText(&page))
	for _, heading := range []string{"Accept, 1 caller", "Drain", "Pick-up", "Redis traffic", "Redis round trips", "Memory"} {
		require.Contains(t, page.String(), heading)
	}
}

func requireTraffic(t *testing.T, found *trafficReport) {
	t.Helper()
	require.Equal(t, 40, found.Jobs)
	stages := map[string][]stage{}
	for _, side := range found.Sides {
		for _, s := range side.Stages {
			stages[side.Name] = append(stages[side.Name], s.Stage)
		}
		require.Positive(t, side.Idle.RoundTrips, side.Name)
	}
	require.Equal(t, map[string][]stage{
		"raw asynq, by hand":     {stageAccept, stageWork, "in all"},
		"Easel, polled and told": {stageAccept, stageSubmit, stagePoll, stageFinalize, stageDeliver, "in all"},
	}, stages)

	perJob := map[trip]float64{}
	for _, side := range found.Sides {
		for _, share := range side.Trips {
			require.False(t, share.Command == "eval" && strings.HasPrefix(share.Caller, "store"), "Redis knows the scripts of the store: %+v", share)
			perJob[trip{share.Stage, "", share.Caller}] += share.PerJob
		}
	}
	for _, once := range []trip{
		{stageAccept, "", "store Create"},
		{stageSubmit, "", "asynq Dequeue"},
		{stageSubmit, "", "store SaveIntent"},
		{stageSubmit, "", "store Save"},
		{stagePoll, "", "asynq Done"},
		{stageFinalize, "", "asynq Enqueue"}, // of the delivery
		{stageDeliver, "", "store Body"},
		{stageWork, "", "asynq MarkAsComplete"},
		{stageWork, "", "asynq WriteResult"},
	} {
		require.GreaterOrEqual(t, perJob[once], 1.0, "%+v", once)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for args, problem := range map[string]string{
		"-rounds 0":     "-rounds must be at least 1",
		"-jobs -1":      "-jobs must be at least 1",
		"-idle 0s":      "-sprint, -steady and -idle must be positive",
		"everything":    "takes flags only",
		"-fsync seldom": "set appendfsync",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			err := run(t.Context(), append([]string{"-dir", t.TempDir()}, strings.Fields(args)...), io.Discard, io.Discard)
			require.ErrorContains(t, err, problem)
		})
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	require.Equal(t, 2.0, median([]float64{3, 1, 2}))
	require.Equal(t, 2.5, median([]float64{4, 1, 2, 3}))
	require.Equal(t, 7.0, median([]float64{7}))
	require.InDelta(t, 99.01, quantile([]float64{1, 100}, 0.99), 1e-9)
	require.True(t, math.IsNaN(median(nil)))
}

// TestRatio compares within rounds: a round in which everything was slow does
// not move the ratio.
func TestRatio(t *testing.T) {
	t.Parallel()
	table := &table{Baseline: "base"}
	for round, speed := range []float64{100, 10, 100} {
		table.add("base", speed)
		table.add("half", speed/2)
		require.Len(t, table.row("half").Rounds, round+1)
	}
	require.Equal(t, 1.0, table.ratio(table.row("base")))
	require.Equal(t, 0.5, table.ratio(table.row("half")))
	half := table.row("half")
	table.Baseline = "nobody"
	require.True(t, math.IsNaN(table.ratio(half)))
}

func TestParseUsage(t *testing.T) {
	t.Parallel()
	at := time.Unix(1, 0)
	u, err := parseUsage("# Memory\r\nused_memory:1000\r\nused_memory_human:1K\r\nconnected_clients:3\r\n"+
		"total_net_input_bytes:20\r\ntotal_net_output_bytes:30\r\nused_cpu_sys:0.5\r\nused_cpu_user:1.5\r\nused_cpu_user_children:9\r\n"+
		"cmdstat_evalsha:calls=4,usec=8\r\ncmdstat_eval:calls=1,usec=8\r\ncmdstat_info:calls=7,usec=8\r\ncmdstat_hset:calls=5,usec=1\r\n", at)
	require.NoError(t, err)
	require.Equal(t, usage{at: at, commands: 10, scripts: 5, bytesIn: 20, bytesOut: 30, cpu: 2e6, memory: 1000, clients: 3}, u)

	_, err = parseUsage("used_memory:much\r\n", at)
	require.ErrorContains(t, err, "used_memory")
	_, err = parseUsage("cmdstat_get:calls=many\r\n", at)
	require.ErrorContains(t, err, "cmdstat_get")
}

func TestCost(t *testing.T) {
	t.Parallel()
	spent := costBetween(usage{commands: 10, scripts: 1}, usage{commands: 70, scripts: 21, bytesIn: 100, bytesOut: 40, cpu: 8})
	require.Equal(t, cost{Commands: 60, Scripts: 20, BytesIn: 100, BytesOut: 40, CPU: 8}, spent)
	require.Equal(t, cost{Commands: 5, Scripts: 2, BytesIn: 8, BytesOut: 4, CPU: .8},
		spent.minus(2, cost{Commands: 5, BytesIn: 10}).by(10))
}

func TestTripBelongsToStage(t *testing.T) {
	t.Parallel()
	background := context.Background()
	enqueue := redis.NewCmd(background, "evalsha", "sha", 2, "asynq:{finalize}:t:job_1:2:0", "asynq:{finalize}:pending")
	require.Equal(t, stageFinalize, stageOfKeys(enqueue.Args()))
	require.Equal(t, stageBackground, stageOfKeys([]any{"smembers", "asynq:{somebody's}:pending"}))
	require.Equal(t, stageBackground, stageOfKeys([]any{"get", "easel:job:1"}))

	submitting := markKind(background, tasks.KindSubmit)
	require.Equal(t, stageSubmit, newTrip(submitting, enqueue).stage, "who enqueues pays")
	require.Equal(t, stageBackground, newTrip(background, enqueue).stage, "not made by asynq for a task")
	require.Equal(t, stageBackground, newTrip(submitting, redis.NewCmd(background, "hello", 3)).stage)
	require.Equal(t, stagePoll, newTrip(markKind(background, tasks.KindLookup), enqueue).stage)
}

func TestShares(t *testing.T) {
	t.Parallel()
	require.Equal(t, []tripShare{
		{stageAccept, 1, "evalsha", "store Create"},
		{stageSubmit, 2, "evalsha", "store Save"},
		{stageSubmit, 1, "evalsha", "store Claim"},
	}, shares(map[trip]int{
		{stageSubmit, "evalsha", "store Claim"}:  1000,
		{stageSubmit, "evalsha", "store Save"}:   2000,
		{stageAccept, "evalsha", "store Create"}: 1000,
		{stageAccept, "sadd", "asynq Enqueue"}:   1,
	}, 1000))
}

func TestCallersDo(t *testing.T) {
	t.Parallel()
	done := newCountdown(100)
	err := callersDo(t.Context(), 7, 100, func(context.Context) error {
		done.tick()
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, done.wait(t.Context()))
	require.Zero(t, done.left.Load(), "not one more")

	var taken atomic.Int64
	n, took, err := callersDoFor(t.Context(), 7, 20*time.Millisecond, func(context.Context) error {
		taken.Add(1)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, int(taken.Load()), n)
	require.GreaterOrEqual(t, took, 20*time.Millisecond)

	broken := errors.New("broken")
	err = callersDo(t.Context(), 7, 100, func(context.Context) error { return broken })
	require.ErrorIs(t, err, broken)

	_, _, err = callersDoFor(t.Context(), 7, time.Hour, func(context.Context) error { return broken })
	require.ErrorIs(t, err, broken)

	failing := newCountdown(1)
	failing.fail(broken)
	failing.fail(errors.New("later"))
	require.ErrorIs(t, failing.wait(t.Context()), broken)
}

func TestStopwatchTakesEitherOrder(t *testing.T) {
	t.Parallel()
	watch, began := newStopwatch(), time.Unix(100, 0)
	watch.start("early", began.Add(5*time.Millisecond))
	watch.start("early", began.Add(time.Hour)) // delivered twice
	latency, err := watch.since(t.Context(), "early", began)
	require.NoError(t, err)
	require.Equal(t, 5.0, latency)

	go watch.start("late", began.Add(7*time.Millisecond))
	latency, err = watch.since(t.Context(), "late", began)
	require.NoError(t, err)
	require.Equal(t, 7.0, latency)

	ended, end := context.WithCancel(t.Context())
	end()
	_, err = watch.since(ended, "never", began)
	require.ErrorIs(t, err, context.Canceled)
}
