package providertest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
)

// verdict is what an adapter makes of a submission: the one thing that decides
// whether it may be made again.
type verdict string

const (
	accepted verdict = "accepted" // it runs, and has been bought
	rejected verdict = "rejected" // it was surely not accepted
	unknown  verdict = "unknown"  // nobody can tell from the answer
)

func verdictOf(err error) verdict {
	switch {
	case err == nil:
		return accepted
	case classify.IsUnknownOutcome(err):
		return unknown
	}
	return rejected
}

// fault is a way in which a provider, or what stands before it, answers a
// submission.
type fault struct {
	name   string
	answer http.HandlerFunc
	want   verdict
}

// faults lists them. What a gateway says with a 5xx, or what breaks off, leaves
// open what the provider behind it has done.
func faults(a Adapter, submitted Reply) []fault {
	list := []fault{
		{"an answer in pieces", submitted.inPieces, accepted},
		{"cut before the answer", cut, unknown},
		{"cut behind the head", submitted.headOnly, unknown},
		{"cut in the middle", submitted.truncated, unknown},
		{"a page instead of an answer", page(http.StatusOK), unknown},
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, unknown},
		{"see other", page(http.StatusSeeOther, "Location", "/"), unknown},
	}
	for _, status := range []int{200, 201, 202} {
		list = append(list, fault{fmt.Sprintf("the answer, with %d", status), submitted.as(status), accepted})
	}
	for _, status := range []int{400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 422, 425, 429, 529} {
		want := rejected
		if a.Statuses[status] == classify.UnknownOutcome {
			want = unknown
		}
		list = append(list, fault{fmt.Sprintf("a gateway's %d", status), page(status), want})
	}
	for _, status := range []int{408, 500, 502, 503, 504, 520, 521, 522, 523, 524, 598} {
		list = append(list, fault{fmt.Sprintf("a gateway's %d", status), page(status), unknown})
	}
	return list
}

func checkVerdicts(t testing.TB, a Adapter) {
	c := a.calls(t)
	for _, f := range faults(a, a.reply(t, "submit.http")) {
		before := len(c.double.Requests())
		c.double.Answer(a.routed(t, f.answer))
		st, err := c.provider.Submit(t.Context(), a.Request)
		require.Equal(t, f.want, verdictOf(err), "%s: %v", f.name, err)
		require.Equal(t, before+1, len(c.double.Requests()), "%s: one call", f.name)
		if f.want == accepted {
			require.Equal(t, c.ref.RemoteID, st.RemoteID, f.name)
		}
	}
}

// as sends the reply with another status.
func (r Reply) as(status int) http.HandlerFunc {
	r.Status = status
	return r.ServeHTTP
}

// inPieces sends the reply's body a few bytes at a time, without its length.
func (r Reply) inPieces(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	w.WriteHeader(r.Status)
	for body := r.bodyFor(req); len(body) > 0; body = body[min(97, len(body)):] {
		_, _ = w.Write(body[:min(97, len(body))])
		w.(http.Flusher).Flush()
	}
}

// headOnly promises the reply and cuts the connection.
func (r Reply) headOnly(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	w.Header().Set("Content-Length", fmt.Sprint(max(len(r.bodyFor(req)), 2)))
	w.WriteHeader(r.Status)
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// checkNewFields holds that an adapter reads what it knows and leaves the rest:
// APIs grow.
func checkNewFields(t testing.TB, a Adapter) {
	c := a.calls(t)
	submitted := a.reply(t, "submit.http")
	c.double.Answer(a.routed(t, submitted.grown))
	st, err := c.provider.Submit(t.Context(), a.Request)
	require.NoError(t, err, "submit.http with new fields")
	require.Equal(t, c.ref.RemoteID, st.RemoteID)
	if !c.polls {
		return
	}
	for _, name := range []string{"running.http", "succeeded.http"} {
		poll := func(answer http.HandlerFunc) providers.Status {
			c.double.Answer(a.routed(t, answer))
			st, err := c.provider.Poll(t.Context(), c.ref)
			require.NoError(t, err, name)
			return st
		}
		reply := a.reply(t, name)
		before, after := poll(reply.ServeHTTP), poll(reply.grown)
		require.Equal(t, before.State, after.State, "%s with new fields", name)
		require.Equal(t, before.Outputs, after.Outputs, "%s with new fields", name)
	}
}

// grown sends the reply with a field more in its object, and in those inside.
func (r Reply) grown(w http.ResponseWriter, req *http.Request) {
	var document any
	if json.Unmarshal(r.bodyFor(req), &document) != nil {
		r.ServeHTTP(w, req) // no JSON: it has no fields
		return
	}
	body, err := json.Marshal(grow(document))
	if err != nil {
		panic(err) // it has just been decoded
	}
	for key, values := range r.Header {
		if key != "Content-Length" {
			w.Header()[key] = values
		}
	}
	w.WriteHeader(r.Status)
	_, _ = w.Write(body)
}

func grow(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			v[key] = grow(inner)
		}
		v["providertest_new"] = map[string]any{"since": "today"}
	case []any:
		for i, inner := range v {
			v[i] = grow(inner)
		}
	}
	return v
}

// checkGivesUp holds that no call outlives its context, whatever it is for.
func checkGivesUp(t testing.TB, a Adapter) {
	c := a.calls(t)
	if !c.polls {
		return
	}
	calls := map[string]func(context.Context) error{}
	if canceler, ok := c.provider.(providers.Canceler); ok {
		calls["Cancel"] = func(ctx context.Context) error { return canceler.Cancel(ctx, c.ref) }
	}
	if finder, ok := c.provider.(providers.Finder); ok {
		calls["Find"] = func(ctx context.Context) error {
			_, err := finder.Find(ctx, providers.Lost{Request: a.Request, SentAt: time.Now()})
			require.NotErrorIs(t, err, providers.ErrAbsent, "who was interrupted does not know")
			return err
		}
	}
	c.double.Answer(hang)
	for name, call := range calls {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- call(ctx) }()
		requireWithin(t, a.patience, c.double.Arrived(), name+" arrives")
		cancel()
		require.Error(t, requireWithin(t, a.patience, done, name+" ends when its context does"))
	}
}

// checkLimits holds that no answer is read without end: that of a poll, and that
// of an error.
func checkLimits(t testing.TB, a Adapter) {
	c := a.calls(t)
	ctx, cancel := context.WithTimeout(t.Context(), a.patience)
	defer cancel()
	whole := make(chan struct{}, 2)
	err := c.submit(ctx, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		long(w, r, whole)
	})
	require.Equal(t, rejected, verdictOf(err), "an error that does not end is still one: %v", err)
	if c.polls {
		requireBlip(t, c.poll(ctx, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			long(w, r, whole)
		}), "an answer that does not end")
	}
	require.NoError(t, ctx.Err(), "an answer that is too large is given up, not waited for")
	require.Empty(t, whole, "all of it was read")
}

// long sends a document of 256 MiB, and says so if all of it went out.
func long(w http.ResponseWriter, r *http.Request, whole chan<- struct{}) {
	chunk := make([]byte, 1<<20)
	for i := range chunk {
		chunk[i] = 'a'
	}
	_, _ = io.WriteString(w, `{"id":"`)
	for range 256 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
	if r.Context().Err() == nil {
		whole <- struct{}{}
	}
}
