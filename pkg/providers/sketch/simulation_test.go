package sketch_test

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// local is a provider that holds its own service.
func local(t *testing.T, change ...func(*sketch.Config)) providers.Provider {
	t.Helper()
	config := sketch.Defaults()
	config.AllowSimulate = true
	for _, c := range change {
		c(&config)
	}
	p, err := sketch.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.(io.Closer).Close()) })
	return p
}

func service(p providers.Provider) *sketch.Service {
	return p.(interface{ Service() *sketch.Service }).Service()
}

func request(simulate map[string]any) providers.Request {
	return providers.Request{
		JobID: "job_1", ClientID: "job_1-1", Submission: 1, Feature: tasks.TextToImage,
		Input: map[string]any{"prompt": "a quiet sea", "size": "64x64", "simulate": simulate},
	}
}

func classOf(err error) classify.Class {
	if err == nil {
		return ""
	}
	return classify.Classify(err).Class
}

func TestSimulatedSubmitFailures(t *testing.T) {
	t.Parallel()
	for _, class := range []classify.Class{
		classify.Network, classify.Timeout, classify.Server, classify.RateLimit, classify.Overloaded, classify.Authentication,
		classify.Quota, classify.Validation, classify.ContentPolicy, classify.NotFound, classify.Unknown,
	} {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			p := local(t)
			req := request(map[string]any{"fail": class, "times": 1, "retry_after_ms": 1500})
			_, err := p.Submit(t.Context(), req)
			require.Equal(t, class, classOf(err), "%v", err)
			if class != classify.Network {
				require.Equal(t, 1500*time.Millisecond, classify.Classify(err).RetryAfter)
			}
			st, err := service(p).Stats()
			require.NoError(t, err)
			require.Zero(t, st.Accepted, "nothing was bought")
			_, err = p.Submit(t.Context(), req)
			require.NoError(t, err, "it fails once")
		})
	}
}

// What happens after the service has accepted leaves the outcome open, and the
// look-up closes it.
func TestSimulatedUnknownOutcomes(t *testing.T) {
	t.Parallel()
	tests := map[string]map[string]any{
		"lost":    {"lose_answer": true},
		"class":   {"fail": "unknown_outcome"},
		"500":     {"answer_500_after_accept": true},
		"garbage": {"garbage": true},
		"hang":    {"hang_ms": 3600_000},
	}
	for name, simulate := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := local(t)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if name == "hang" {
				cancel = giveUpOnceAccepted(t, service(p), cancel)
			}
			_, err := p.Submit(ctx, request(simulate))
			cancel()
			require.Equal(t, classify.UnknownOutcome, classOf(err), "%v", err)
			st, err := p.(providers.Finder).Find(t.Context(), providers.Lost{Request: request(nil)})
			require.NoError(t, err)
			require.NotEmpty(t, st.RemoteID)
			stats, err := service(p).Stats()
			require.NoError(t, err)
			require.Equal(t, 1, stats.Accepted)
		})
	}
}

// giveUpOnceAccepted calls cancel when the service has a generation. What it
// returns cancels, too, and waits.
func giveUpOnceAccepted(t *testing.T, s *sketch.Service, cancel context.CancelFunc) context.CancelFunc {
	t.Helper()
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		defer cancel()
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			if st, err := s.Stats(); err != nil || st.Accepted > 0 {
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		close(stop)
		watching.Wait()
	})
}

func TestSimulatedEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		simulate map[string]any
		state    providers.State
		class    classify.Class
		outputs  int
	}{
		{"done", map[string]any{"duration_ms": 0}, providers.Succeeded, "", 1},
		{"failed", map[string]any{"duration_ms": 0, "fail": "generation_failed"}, providers.Failed, classify.GenerationFailed, 0},
		{"refused late", map[string]any{"duration_ms": 0, "fail": "content_policy", "stage": "generation"}, providers.Failed, classify.ContentPolicy, 0},
		{"canceled", map[string]any{"duration_ms": 0, "fail": "canceled"}, providers.Canceled, "", 0},
		{"no output", map[string]any{"duration_ms": 0, "no_output": true}, providers.Succeeded, "", 0},
		{"three outputs", map[string]any{"duration_ms": 0, "outputs": 3}, providers.Succeeded, "", 3},
		{"never", map[string]any{"duration_ms": 0, "never": true}, providers.Running, "", 0},
		{"slow", map[string]any{"duration_ms": 3600_000}, providers.Queued, "", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := local(t)
			st, err := p.Submit(t.Context(), request(test.simulate))
			require.NoError(t, err)
			st, err = p.Poll(t.Context(), providers.Ref{RemoteID: st.RemoteID})
			require.NoError(t, err)
			require.Equal(t, test.state, st.State)
			require.Len(t, st.Outputs, test.outputs)
			if test.class != "" {
				require.Equal(t, test.class, st.Failure.Class)
			}
		})
	}
}

// A generation fails for the first attempts of a job, each with a client id of
// its own.
func TestSimulatedFailuresCountByJob(t *testing.T) {
	t.Parallel()
	p := local(t)
	var states []providers.State
	for attempt := range 3 {
		req := request(map[string]any{"duration_ms": 0, "fail": "generation_failed", "times": 2})
		req.ClientID = fmt.Sprintf("job_1-%d", attempt+1)
		st, err := p.Submit(t.Context(), req)
		require.NoError(t, err)
		states = append(states, st.State)
	}
	require.Equal(t, []providers.State{providers.Failed, providers.Failed, providers.Succeeded}, states)
}

func TestSimulatedPollTrouble(t *testing.T) {
	t.Parallel()
	tests := map[string]map[string]any{
		"blips":   {"duration_ms": 0, "poll_blips": 3},
		"fail":    {"duration_ms": 0, "fail": "server", "stage": "poll", "times": 3},
		"refused": {"duration_ms": 0, "fail": "network", "stage": "poll", "times": 3},
		"garbage": {"duration_ms": 0, "garbage": true, "stage": "poll", "times": 3},
	}
	for name, simulate := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := local(t)
			st, err := p.Submit(t.Context(), request(simulate))
			require.NoError(t, err)
			ref := providers.Ref{RemoteID: st.RemoteID}
			for range 3 {
				_, err = p.Poll(t.Context(), ref)
				require.True(t, classify.IsTransient(err), "%v", err)
			}
			st, err = p.Poll(t.Context(), ref)
			require.NoError(t, err)
			require.Equal(t, providers.Succeeded, st.State)
		})
	}
}

func TestSimulatedDownloadTrouble(t *testing.T) {
	t.Parallel()
	p := local(t)
	st, err := p.Submit(t.Context(), request(map[string]any{"duration_ms": 0, "fail": "overloaded", "stage": "download", "times": 2}))
	require.NoError(t, err)
	for range 2 {
		_, err = p.(providers.Downloader).Download(t.Context(), providers.Ref{}, st.Outputs[0])
		require.Equal(t, classify.Overloaded, classOf(err))
	}
	body, err := p.(providers.Downloader).Download(t.Context(), providers.Ref{}, st.Outputs[0])
	require.NoError(t, err)
	data, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	require.Equal(t, "image/png", body.MediaType())
	require.Equal(t, body.Size(), int64(len(data)))
}

func TestSimulatedSynchrony(t *testing.T) {
	t.Parallel()
	p := local(t)
	st, err := p.Submit(t.Context(), request(map[string]any{"duration_ms": 0, "sync": true}))
	require.NoError(t, err)
	require.Equal(t, providers.Succeeded, st.State)
	require.Contains(t, string(st.Outputs[0].Data), "PNG")
}

func TestSimulateIsCheckedBeforeAnythingIsBought(t *testing.T) {
	t.Parallel()
	closed := local(t, func(c *sketch.Config) { c.AllowSimulate = false })
	open := local(t)
	tests := []struct {
		name     string
		provider providers.Provider
		simulate any
		field    string
	}{
		{"not allowed", closed, map[string]any{"fail": "server"}, "/input_data/simulate"},
		{"unknown key", open, map[string]any{"fial": "server"}, "/input_data/simulate"},
		{"wrong kind", open, "server", "/input_data/simulate"},
		{"unknown class", open, map[string]any{"fail": "mood"}, "/input_data/simulate/fail"},
		{"unknown stage", open, map[string]any{"fail": "server", "stage": "lunch"}, "/input_data/simulate/stage"},
		{"unknown webhook", open, map[string]any{"webhook": "pigeon"}, "/input_data/simulate/webhook"},
		{"negative", open, map[string]any{"hang_ms": -1}, "/input_data/simulate/duration_ms"},
		{"too many", open, map[string]any{"outputs": 17}, "/input_data/simulate/outputs"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			input := map[string]any{"prompt": "x", "simulate": test.simulate}
			err := test.provider.(providers.InputChecker).CheckInput(tasks.TextToImage, "", input)
			require.Equal(t, classify.Validation, classOf(err), "%v", err)
			require.Equal(t, test.field, classify.Classify(err).Field)
			_, err = test.provider.Submit(t.Context(), providers.Request{Feature: tasks.TextToImage, Input: input})
			require.Equal(t, classify.Validation, classOf(err), "the service checks, too: %v", err)
		})
	}
}

// Over a real network connection the same simulations look the same, but for a
// connection that nobody can refuse any more.
func TestSimulationElsewhere(t *testing.T) {
	t.Parallel()
	s := newService(t, sketch.ServiceConfig{AllowSimulate: true})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	p := local(t, func(c *sketch.Config) { c.BaseURL = server.URL })
	require.Nil(t, service(p))
	for class, want := range map[string]classify.Class{
		"server": classify.Server, "unknown_outcome": classify.UnknownOutcome, "network": classify.UnknownOutcome,
	} {
		_, err := p.Submit(t.Context(), request(map[string]any{"fail": class}))
		require.Equal(t, want, classOf(err), "%s: %v", class, err)
	}
	st, err := p.Submit(t.Context(), request(map[string]any{"duration_ms": 0}))
	require.NoError(t, err)
	body, err := p.(providers.Downloader).Download(t.Context(), providers.Ref{}, st.Outputs[0])
	require.NoError(t, err)
	data, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	require.Contains(t, string(data), "PNG")
}
