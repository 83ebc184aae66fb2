package orchestrator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// door takes the text at image and at large for files, and stores them.
type door struct{ artifacts *memoryArtifacts }

func (d door) StoreInputs(ctx context.Context, jobID string, input json.RawMessage, _ OpenSource) (json.RawMessage, []tasks.File, error) {
	var given map[string]any
	if err := json.Unmarshal(input, &given); err != nil {
		return nil, nil, err
	}
	var files []tasks.File
	for _, key := range []string{"image", "large"} {
		text, ok := given[key].(string)
		if !ok {
			continue
		}
		f := tasks.File{
			Index: len(files), Pointer: "/" + key, Key: fmt.Sprintf("%s/inputs/%d", jobID, len(files)), MediaType: "image/png", Bytes: int64(len(text)),
		}
		if _, err := d.artifacts.Put(ctx, f.Key, f.MediaType, strings.NewReader(text), 0); err != nil {
			return nil, nil, err
		}
		given[key] = map[string]any{"$file": f.Index}
		files = append(files, f)
	}
	replaced, err := json.Marshal(given)
	return replaced, files, err
}

func (door) StoreFile(context.Context, string, string, io.Reader) (tasks.Artifact, error) {
	return tasks.Artifact{}, ErrUnavailable
}

// plainLinks say what they open.
type plainLinks struct{}

func (plainLinks) Input(jobID string, index int, until time.Time) string {
	return fmt.Sprintf("https://easel.test/%s/%d?until=%s", jobID, index, until.Format(time.RFC3339))
}

func withFiles(links InputLinks) func(*Config) {
	return func(cfg *Config) {
		cfg.Inputs, cfg.InputLinks = door{cfg.Artifacts.(*memoryArtifacts)}, links
	}
}

func fileDraft() tasks.Draft {
	return tasks.Draft{FeatureType: tasks.TextToImage, InputData: json.RawMessage(`{"prompt":"a red kite","image":"small","large":"0123456789"}`)}
}

// TestHandover gives each provider what it takes: bytes, or the URL of what it
// has to fetch. The URL lasts longer than the job.
func TestHandover(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files   providers.Handover
		largest int64
		links   InputLinks
		byURL   [2]bool
	}{
		"uploads":              {providers.HandoverUpload, 0, plainLinks{}, [2]bool{false, false}},
		"takes all inside":     {providers.HandoverDataURI, 0, plainLinks{}, [2]bool{false, false}},
		"takes little inside":  {providers.HandoverDataURI, 9, plainLinks{}, [2]bool{false, true}},
		"takes just that much": {providers.HandoverDataURI, 10, nil, [2]bool{false, false}},
		"fetches":              {providers.HandoverURL, 0, plainLinks{}, [2]bool{true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, pending, finished)
			w.provider.files, w.provider.largestInline = test.files, test.largest
			w.open(withFiles(test.links))
			accepted := w.accept(Entry{Draft: fileDraft()})
			job := w.run(accepted.ID)
			require.Equal(t, tasks.Completed, job.State)
			require.Len(t, w.provider.got.Files, 2)
			for i, f := range w.provider.got.Files {
				if !test.byURL[i] {
					require.Empty(t, f.URL)
					require.Len(t, f.Data, int(job.Request.Files[i].Bytes))
					continue
				}
				require.Nil(t, f.Data, "it is not read")
				require.Equal(t, plainLinks{}.Input(job.ID, i, accepted.Deadline.Add(linkSlack)), f.URL)
				require.NotContains(t, string(w.store.records[job.ID]), "until=", "the record does not know it")
			}
		})
	}
}

// TestLinksEnd bounds what a clock or a record that is wrong can ask for.
func TestLinksEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.Equal(t, start.Add(2*time.Hour), w.engine.linkEnd(&tasks.Job{Deadline: start.Add(time.Hour)}))
	require.Equal(t, start.Add(maxTimeout+linkSlack), w.engine.linkEnd(&tasks.Job{Deadline: start.Add(1000 * time.Hour)}))
}

// TestFilesThatNobodyCanFetch are refused at the door, and nothing of them stays.
func TestFilesThatNobodyCanFetch(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files   providers.Handover
		largest int64
		fields  []string
	}{
		"fetches":             {providers.HandoverURL, 0, []string{"/input_data/image", "/input_data/large"}},
		"takes little inside": {providers.HandoverDataURI, 9, []string{"/input_data/large"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.provider.files, w.provider.largestInline = test.files, test.largest
			w.open(withFiles(nil))
			_, _, err := w.engine.Accept(t.Context(), tasks.DefaultTenant, Entry{Draft: fileDraft()})
			var invalid *InvalidError
			require.ErrorAs(t, err, &invalid)
			var fields []string
			for _, f := range invalid.Fields {
				fields = append(fields, f.Pointer)
				require.Contains(t, f.Detail, "api.public_url", "it says what to configure")
			}
			require.Equal(t, test.fields, fields)
			require.Empty(t, w.artifacts.files)
			require.Empty(t, w.store.records)

			_, _, err = w.engine.Accept(t.Context(), tasks.DefaultTenant, Entry{Draft: draft()})
			require.NoError(t, err, "what has no file is taken")
		})
	}
}

// TestSameRequestAfterLinksWereLost answers a request that was accepted while
// files could be handed over.
func TestSameRequestAfterLinksWereLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.provider.files = providers.HandoverURL
	w.open(withFiles(plainLinks{}))
	entry := Entry{Draft: fileDraft(), IdempotencyKey: "k"}
	first := w.accept(entry)
	w.open(withFiles(nil))
	again, replayed, err := w.engine.Accept(t.Context(), tasks.DefaultTenant, entry)
	require.NoError(t, err)
	require.True(t, replayed)
	require.Equal(t, first.ID, again.ID)
}

// TestNoFailoverToWhoCannotFetch keeps a job with files from a provider that
// could only fetch them.
func TestNoFailoverToWhoCannotFetch(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		links InputLinks
		ends  tasks.State
	}{
		"without links": {nil, tasks.Failed},
		"with links":    {plainLinks{}, tasks.Completed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, umbra := newPair(t, []reply{{err: &classify.Error{Class: classify.Quota, Message: "no"}}}, []reply{pending, finished})
			umbra.files = providers.HandoverURL
			w.open(withFiles(test.links))
			d := fileDraft()
			d.ProviderID, d.FallbackProviderIDs = "lumen", []string{"umbra"}
			job := w.run(w.accept(Entry{Draft: d}).ID)
			require.Equal(t, test.ends, job.State, "%+v", job.Error)
			require.Equal(t, test.ends == tasks.Completed, umbra.submits > 0)
		})
	}
}

// TestOpenInput opens what a job is made from, for its owner and for whoever has
// a link, until the job is erased.
func TestOpenInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.open(withFiles(nil))
	job := w.run(w.accept(Entry{Draft: fileDraft()}).ID)
	for _, tenant := range []string{tasks.DefaultTenant, ""} {
		file, r, err := w.engine.OpenInput(t.Context(), tenant, job.ID, 1)
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "0123456789", string(data))
		require.Equal(t, "image/png", file.MediaType)
	}
	for name, ask := range map[string]struct {
		tenant, id string
		index      int
	}{
		"another tenant": {"bob", job.ID, 0}, "another job": {"", "job_0", 0}, "one more": {"", job.ID, 2}, "one less": {"", job.ID, -1},
	} {
		_, _, err := w.engine.OpenInput(t.Context(), ask.tenant, ask.id, ask.index)
		require.ErrorIs(t, err, ErrNotFound, name)
	}
	require.NoError(t, w.engine.Erase(t.Context(), tasks.DefaultTenant, job.ID, 0))
	_, _, err := w.engine.OpenInput(t.Context(), "", job.ID, 0)
	require.ErrorIs(t, err, ErrNotFound)
}
