package main

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/redistest"
)

func TestDoctor(t *testing.T) {
	t.Parallel()
	db := redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: db.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	doctor := func(code int, args ...string) *easel {
		t.Helper()
		e := newEasel(nil)
		e.env["EASEL_REDIS_URL"], e.env["EASEL_DATA_DIR"] = db.URL(), t.TempDir()
		require.Equal(t, code, e.run(context.Background(), append([]string{"doctor"}, args...)), "%s%s", &e.out, &e.err)
		return e
	}
	require.Contains(t, doctor(0).out.String(), "Nothing differs.")

	require.NoError(t, rdb.ZAdd(t.Context(), "easel:open", redis.Z{Score: 1e15, Member: "job_nobody"}).Err())
	said := doctor(1).out.String()
	for _, words := range []string{"index_stray (1)", "job_nobody", "easel:open", "Repair:", "easel doctor --repair mends them"} {
		require.Contains(t, said, words)
	}
	var found struct {
		Clean  bool
		Drifts []struct {
			Kind, Job_ID, What, Why, Repair string
			Mended                          bool
		}
	}
	require.NoError(t, json.Unmarshal(doctor(1, "--json").out.Bytes(), &found))
	require.False(t, found.Clean)
	require.Len(t, found.Drifts, 1)
	require.Equal(t, "job_nobody", found.Drifts[0].Job_ID)
	require.NotEmpty(t, found.Drifts[0].What)
	require.NotEmpty(t, found.Drifts[0].Why)
	require.NotEmpty(t, found.Drifts[0].Repair)

	require.Contains(t, doctor(0, "--repair").out.String(), "All is mended: 1.")
	require.Contains(t, doctor(0).out.String(), "Nothing differs.")
	doctor(2, "--nonsense")
	db.Kill()
	doctor(4)
}
