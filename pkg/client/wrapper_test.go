//go:build !easel_http

package client_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/client"
)

// executed is an executor without an Easel behind it.
type executed func(context.Context, client.Request) (*client.GenerationResult, error)

func (f executed) Execute(ctx context.Context, r client.Request, _ ...client.ExecuteOption) (*client.GenerationResult, error) {
	return f(ctx, r)
}

// TestWrapperInOrder notes who is called when.
func TestWrapperInOrder(t *testing.T) {
	t.Parallel()
	var calls []string
	layer := func(name string) client.WrapperConfig {
		middle := func(which string) client.Middleware {
			return func(next client.ExecuteFunc) client.ExecuteFunc {
				return func(ctx context.Context, r client.Request) (*client.GenerationResult, error) {
					calls = append(calls, name+which+" in")
					defer func() { calls = append(calls, name+which+" out") }()
					return next(ctx, r)
				}
			}
		}
		return client.WrapperConfig{
			Before: []func(context.Context, *client.Request) error{func(_ context.Context, r *client.Request) error {
				calls = append(calls, name+" before")
				r.UserID += name
				return nil
			}},
			Middleware: []client.Middleware{middle("1"), middle("2")},
			After: []func(context.Context, client.Request, *client.GenerationResult) (*client.GenerationResult, error){
				func(_ context.Context, r client.Request, result *client.GenerationResult) (*client.GenerationResult, error) {
					calls = append(calls, name+" after")
					return &client.GenerationResult{JobID: result.JobID + name + r.UserID}, nil
				},
			},
			OnError: []func(context.Context, client.Request, error) error{func(_ context.Context, _ client.Request, err error) error {
				calls = append(calls, name+" error")
				return nil // as it is
			}},
		}
	}
	w := client.NewWrapper(executed(func(_ context.Context, r client.Request) (*client.GenerationResult, error) {
		calls = append(calls, "execute "+r.UserID)
		if r.UserID == "badab" {
			return nil, errors.New("bad")
		}
		return &client.GenerationResult{JobID: "job"}, nil
	}), layer("a"), layer("b"))
	result, err := w.Execute(t.Context(), client.Request{}, func(r *client.Request) { r.UserID = "u" })
	require.NoError(t, err)
	require.Equal(t, []string{
		"a before", "a1 in", "a2 in", "b before", "b1 in", "b2 in", "execute uab", "b2 out", "b1 out", "b after", "a2 out", "a1 out", "a after",
	}, calls)
	require.Equal(t, "jobbuabaua", result.JobID)

	calls = nil
	_, err = w.Execute(t.Context(), client.Request{UserID: "bad"})
	require.EqualError(t, err, "bad")
	require.Equal(t, []string{
		"a before", "a1 in", "a2 in", "b before", "b1 in", "b2 in", "execute badab", "b2 out", "b1 out", "b error", "a2 out", "a1 out", "a error",
	}, calls)
}

func TestWrapperRefuses(t *testing.T) {
	t.Parallel()
	refusal := errors.New("no credits")
	w := client.NewWrapper(executed(func(context.Context, client.Request) (*client.GenerationResult, error) {
		t.Error("it is asked for all the same")
		return nil, nil
	}), client.WrapperConfig{
		Before: []func(context.Context, *client.Request) error{func(context.Context, *client.Request) error { return refusal }},
		OnError: []func(context.Context, client.Request, error) error{func(_ context.Context, _ client.Request, err error) error {
			return errors.Join(err, errors.New("seen"))
		}},
	})
	_, err := w.Execute(t.Context(), client.Request{})
	require.ErrorIs(t, err, refusal)
	require.ErrorContains(t, err, "seen")
}

// TestDefaultWrapper logs, names, checks and survives.
func TestDefaultWrapper(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.both(func(t *testing.T, c *client.Client) {
		var log bytes.Buffer
		twice := client.WrapperConfig{Middleware: []client.Middleware{func(next client.ExecuteFunc) client.ExecuteFunc {
			return func(ctx context.Context, r client.Request) (*client.GenerationResult, error) {
				if r.UserID == "panics" {
					panic(r.InputData)
				}
				first, err := next(ctx, r)
				if err != nil {
					return nil, err
				}
				second, err := next(ctx, r)
				if err == nil && first.JobID != second.JobID {
					err = errors.New("bought twice")
				}
				return second, err
			}
		}}}
		w := client.NewDefaultWrapper(c, slog.New(slog.NewTextHandler(&log, nil)), twice)
		result, err := w.Execute(t.Context(), picture("a secret garden"))
		require.NoError(t, err)
		require.Contains(t, log.String(), result.JobID)

		_, err = w.Execute(t.Context(), client.Request{FeatureType: "text-to-smell", InputData: []byte(`{}`)})
		require.ErrorIs(t, err, client.ErrNoProvider)
		_, err = w.Execute(t.Context(), client.Request{FeatureType: client.TextToImage, ProviderID: "nobody", InputData: []byte(`{}`)})
		require.ErrorIs(t, err, client.ErrNoProvider)
		r := picture("a secret garden")
		r.UserID = "panics"
		_, err = w.Execute(t.Context(), r)
		require.ErrorIs(t, err, client.ErrHookPanicked)
		require.Contains(t, log.String(), "generation failed")
		require.NotContains(t, log.String(), "secret garden")
	})
}
