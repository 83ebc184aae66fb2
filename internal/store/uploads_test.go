package store_test

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func uploadsLive(f fixture) {
	ctx, now := f.Context(), f.store.Now().UTC()
	u := &tasks.Upload{ID: "file_1", Tenant: "ann", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
	require.ErrorIs(f, f.store.SaveUpload(ctx, u, u.ExpiresAt), orchestrator.ErrNoUpload, "only a new record is created")
	require.NoError(f, f.store.CreateUpload(ctx, u, u.ExpiresAt))
	u.Key, u.Bytes = "file_1/data.png", 7
	require.NoError(f, f.store.SaveUpload(ctx, u, u.ExpiresAt))
	found, err := f.store.LoadUpload(ctx, u.ID)
	require.NoError(f, err)
	require.Equal(f, u, found)

	job := f.create(func(j *tasks.Job) { j.State, j.Touch, j.PurgeAt = tasks.Failed, time.Time{}, now.Add(-time.Second) })
	expired, err := f.store.Expired(ctx, 10, time.Minute)
	require.NoError(f, err)
	require.Equal(f, []string{job.ID}, expired, "an upload that lives is not taken")
	require.NoError(f, f.store.SaveUpload(ctx, u, now.Add(-time.Second)))
	expired, err = f.store.Expired(ctx, 10, time.Minute)
	require.NoError(f, err)
	require.Equal(f, []string{u.ID}, expired)
	expired, err = f.store.Expired(ctx, 10, time.Minute)
	require.NoError(f, err)
	require.Empty(f, expired, "taken once")

	for range 2 {
		require.NoError(f, f.store.RemoveUpload(ctx, u.ID))
	}
	_, err = f.store.LoadUpload(ctx, u.ID)
	require.ErrorIs(f, err, orchestrator.ErrNoUpload)
	require.ErrorIs(f, f.store.SaveUpload(ctx, u, u.ExpiresAt), orchestrator.ErrNoUpload, "nothing recreates it")
	require.Zero(f, f.redis.Exists(ctx, "easel:file:"+u.ID).Val())
	require.Error(f, f.redis.ZScore(ctx, "easel:purge", u.ID).Err())
}

func keyHolder(f fixture) {
	ctx := f.Context()
	holder, err := f.store.Keyed(ctx, tasks.DefaultTenant, "k")
	require.NoError(f, err)
	require.Zero(f, holder)
	job := f.create(func(j *tasks.Job) { j.IdempotencyKey = "k" })
	holder, err = f.store.Keyed(ctx, tasks.DefaultTenant, "k")
	require.NoError(f, err)
	require.Equal(f, orchestrator.Created{ExistingID: job.ID, ExistingHash: job.RequestHash}, holder)
	other, err := f.store.Keyed(ctx, "somebody else", "k")
	require.NoError(f, err)
	require.Zero(f, other)
}
