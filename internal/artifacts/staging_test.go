package artifacts

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const staged = "job_1/2"

// answer is what a synchronous provider returned.
func answer(t *testing.T) providers.Status {
	t.Helper()
	return providers.Status{
		State: providers.Succeeded, RemoteID: "remote-1", Message: "done",
		Outputs: []providers.Output{
			{Kind: "image", MediaType: "image/png", Data: pngFile(t, 4, 3), Name: "first"},
			{Kind: "image", URL: "https://cdn.example.com/2.png"},
			{Kind: "audio", Data: wavFile(1, 0)},
			// What is not what it claims was paid for all the same.
			{Kind: "image", MediaType: "image/png", Data: []byte("<html></html>")},
		},
		Data:     map[string]any{"seed": json.Number("9007199254740993")},
		Cost:     &tasks.Cost{Amount: "0.040", Currency: "USD", Basis: "reported"},
		Warnings: []tasks.Warning{{Code: "w", Message: "m"}},
	}
}

func requireStaged(t *testing.T, s *Store) {
	t.Helper()
	want := answer(t)
	st, outputs, err := s.Staged(t.Context(), staged)
	require.NoError(t, err)
	picture, sound := storedFor(t, want.Outputs[0].Data), storedFor(t, want.Outputs[2].Data)
	if _, err := os.Stat(s.spool.path(staged)); err == nil {
		picture, sound = nil, nil // they have yet to be copied
	}
	require.Equal(t, []tasks.Output{
		{Kind: "image", MediaType: "image/png", Key: staged + "/0.png", Name: "first", Stored: picture},
		{Kind: "image", URL: "https://cdn.example.com/2.png"},
		{Kind: "audio", MediaType: "audio/wav", Key: staged + "/2.wav", Stored: sound},
		{Kind: "image", MediaType: "image/png", Key: staged + "/3.html"},
	}, outputs)
	require.Equal(t, providers.Succeeded, st.State)
	require.Equal(t, want.RemoteID, st.RemoteID)
	require.Equal(t, want.Data, st.Data, "no digit of the seed is lost")
	require.Equal(t, want.Cost, st.Cost)
	require.Equal(t, want.Warnings, st.Warnings)
	require.Len(t, st.Outputs, 4)
	require.Equal(t, string(want.Outputs[0].Data), content(t, s, outputs[0].Key))
	require.Equal(t, string(want.Outputs[3].Data), content(t, s, outputs[3].Key))
}

// storedFor is what a copy of the same bytes would say.
func storedFor(t *testing.T, data []byte) *tasks.Artifact {
	t.Helper()
	names := map[string]string{"image/png": "/0.png", "audio/wav": "/2.wav"}
	stored, err := directory(t).Put(t.Context(), "job_2/1/0.*", "", bytes.NewReader(data), 0)
	require.NoError(t, err)
	stored.Key = staged + names[stored.MediaType]
	return &stored
}

func TestStage(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *Store) {
		_, _, err := s.Staged(t.Context(), staged)
		require.ErrorIs(t, err, orchestrator.ErrNoArtifact)

		outputs, err := s.Stage(t.Context(), staged, answer(t))
		require.NoError(t, err)
		require.Equal(t, staged+"/0.png", outputs[0].Key)
		requireStaged(t, s)

		_, err = s.Stage(t.Context(), staged, answer(t))
		require.NoError(t, err, "twice is no error")
		requireStaged(t, s)
		require.Empty(t, everything(t, s.spool.dir))

		require.NoError(t, s.Unstage(t.Context(), staged))
		_, _, err = s.Staged(t.Context(), staged)
		require.ErrorIs(t, err, orchestrator.ErrNoArtifact)
		require.NotEmpty(t, content(t, s, outputs[0].Key), "the artifacts stay")
		require.NoError(t, s.Unstage(t.Context(), staged), "twice is no error")

		require.NoError(t, s.Delete(t.Context(), "job_1"))
		_, _, err = s.Staged(t.Context(), staged)
		require.ErrorIs(t, err, orchestrator.ErrNoArtifact)
	})
}

func TestStagingWithoutManifestDoesNotCount(t *testing.T) {
	t.Parallel()
	s := directory(t)
	_, entries, err := stagingOf(staged, answer(t))
	require.NoError(t, err)
	require.Equal(t, manifestName, entries[len(entries)-1].name, "the manifest is written last")
	// The process is killed before it.
	require.NoError(t, s.storeEntries(t.Context(), staged, entries[:len(entries)-1]))
	_, _, err = s.Staged(t.Context(), staged)
	require.ErrorIs(t, err, orchestrator.ErrNoArtifact)
}

func TestStageSpoolsWhileStorageFails(t *testing.T) {
	t.Parallel()
	s := directory(t)
	obstacle := block(t, s, "job_1")

	outputs, err := s.Stage(t.Context(), staged, answer(t))
	require.NoError(t, err)
	require.Len(t, outputs, 4)
	requireStaged(t, s)
	_, err = s.Stage(t.Context(), staged, answer(t))
	require.NoError(t, err, "twice is no error")

	// Another process starts with the same spool. Storage still fails.
	again, err := Open(t.Context(), Config{URL: "file://" + s.dir, SpoolDir: s.spool.dir})
	require.NoError(t, err)
	defer again.Close()
	again.drain(t.Context())
	requireStaged(t, again)
	require.NotEmpty(t, everything(t, s.spool.dir))

	// It works again.
	require.NoError(t, os.Remove(obstacle))
	again.drain(t.Context())
	require.Empty(t, everything(t, s.spool.dir))
	require.FileExists(t, s.Path(staged+"/"+manifestName))
	requireStaged(t, again)
}

func TestRunDrainsAtStart(t *testing.T) {
	t.Parallel()
	s := directory(t)
	_, entries, err := stagingOf(staged, answer(t))
	require.NoError(t, err)
	require.NoError(t, s.spool.put(staged, entries))

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	require.Eventually(t, func() bool {
		_, err := os.Stat(s.spool.path(staged))
		return os.IsNotExist(err)
	}, 10*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	requireStaged(t, s)
}

func TestDeleteReachesTheSpool(t *testing.T) {
	t.Parallel()
	s := directory(t)
	_, entries, err := stagingOf(staged, answer(t))
	require.NoError(t, err)
	require.NoError(t, s.spool.put(staged, entries))
	require.NoError(t, s.spool.put("job_10/1", entries))

	require.NoError(t, s.Delete(t.Context(), "job_1"))
	_, _, err = s.Staged(t.Context(), staged)
	require.ErrorIs(t, err, orchestrator.ErrNoArtifact)
	prefixes, err := s.spool.prefixes()
	require.NoError(t, err)
	require.Equal(t, []string{"job_10/1"}, prefixes)
}

func TestSpoolClearsWhatWasLeftUnfinished(t *testing.T) {
	t.Parallel()
	s := directory(t)
	old, fresh := filepath.Join(s.spool.dir, partialPrefix+"1"), filepath.Join(s.spool.dir, partialPrefix+"2")
	require.NoError(t, os.Mkdir(old, 0o700))
	require.NoError(t, os.Mkdir(fresh, 0o700))
	past := time.Now().Add(-2 * partialAge)
	require.NoError(t, os.Chtimes(old, past, past))
	s.drain(t.Context())
	require.NoDirExists(t, old)
	require.DirExists(t, fresh, "another process may be at it")
}

func TestStageWithoutSpool(t *testing.T) {
	t.Parallel()
	s := directory(t)
	s.spool = nil
	block(t, s, "job_1")
	_, err := s.Stage(t.Context(), staged, answer(t))
	requireClass(t, err, classify.Server, CodeStorage)
	_, err = s.Stage(t.Context(), "../elsewhere", answer(t))
	require.Error(t, err)
}

func TestStageWhenTheSpoolFailsToo(t *testing.T) {
	t.Parallel()
	s := directory(t)
	block(t, s, "job_1")
	require.NoError(t, os.RemoveAll(s.spool.dir))
	_, err := s.Stage(t.Context(), staged, answer(t))
	requireClass(t, err, classify.Server, CodeStorage)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestStageSpoolsWhenTimeIsOver(t *testing.T) {
	t.Parallel()
	s := directory(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Stage(ctx, staged, answer(t))
	require.NoError(t, err)
	requireStaged(t, s)
}

func TestStagedOfANewerRelease(t *testing.T) {
	t.Parallel()
	s := directory(t)
	require.NoError(t, s.storeEntries(t.Context(), staged, []entry{{manifestName, "application/json", []byte(`{"schema":2}`)}}))
	_, _, err := s.Staged(t.Context(), staged)
	require.ErrorIs(t, err, orchestrator.ErrNewerSchema)
}
