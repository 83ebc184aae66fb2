package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
)

func checkCapabilities(t testing.TB, a Adapter) {
	p, double := a.start(t, hang)
	requireCapabilities(t, p, a.Request)
	require.Empty(t, double.Requests(), "capabilities are known without asking")
}

func requireSchema(t testing.TB, f providers.FeatureCapability) {
	t.Helper()
	var schema map[string]any
	require.NoError(t, json.Unmarshal(f.Input, &schema), "%s: the schema of the input", f.Feature)
	require.Equal(t, "object", schema["type"], "%s: input_data is an object", f.Feature)
}

func checkSubmit(t testing.TB, a Adapter) {
	p, double, st := a.submitted(t)
	requests := double.Requests()
	require.NotEmpty(t, requests, "a submission calls the provider")
	require.NotEqual(t, http.MethodGet, requests[0].Method)
	if !a.Unauthorized {
		require.Contains(t, fmt.Sprint(requests[0].Header, requests[0].Query), Secret, "a submission is authorized")
		require.NotContains(t, string(requests[0].Body), Secret, "the credential does not stand in the body")
	}
	if st.State.Done() {
		requireSucceeded(t, p, st)
		require.NotContains(t, fmt.Sprintf("%+v", st), Secret)
		return
	}
	require.Contains(t, []providers.State{providers.Queued, providers.Running}, st.State)
	require.NotEmpty(t, st.RemoteID, "there must be something to poll")
	if checker, ok := p.(providers.RemoteIDChecker); ok {
		require.True(t, checker.ValidRemoteID(st.RemoteID), "an id of the provider's own is valid")
		for _, id := range []string{"", "../x", "a/../../b?c", strings.Repeat("x", 10_000)} {
			require.False(t, checker.ValidRemoteID(id), "%.20q is no id", id)
		}
	}
}

func requireSucceeded(t testing.TB, p providers.Provider, st providers.Status) {
	t.Helper()
	require.Equal(t, providers.Succeeded, st.State)
	require.True(t, len(st.Outputs) > 0 || len(st.Data) > 0, "a success brings something")
	_, downloads := p.(providers.Downloader)
	for i, output := range st.Outputs {
		require.True(t, output.URL != "" || len(output.Data) > 0 || downloads, "output %d is nowhere", i)
	}
	requireProgress(t, st)
}

func requireProgress(t testing.TB, st providers.Status) {
	t.Helper()
	if st.Percent != nil {
		require.GreaterOrEqual(t, *st.Percent, 0.0)
		require.LessOrEqual(t, *st.Percent, 100.0)
	}
}

func checkPoll(t testing.TB, a Adapter) {
	c := a.calls(t)
	if !c.polls {
		err := c.poll(t.Context(), hang)
		require.Equal(t, classify.NotFound, classify.Classify(err).Class, "there is nothing to poll: %v", err)
		return
	}
	poll := func(name string) providers.Status {
		c.double.Answer(a.routed(t, a.reply(t, name).ServeHTTP))
		st, err := c.provider.Poll(t.Context(), c.ref)
		require.NoError(t, err, name)
		return st
	}
	st := poll("running.http")
	require.Contains(t, []providers.State{providers.Queued, providers.Running}, st.State, "running.http")
	requireProgress(t, st)
	requireSucceeded(t, c.provider, poll("succeeded.http"))
	st = poll("failed.http")
	require.Equal(t, providers.Failed, st.State, "failed.http")
	require.NotNil(t, st.Failure, "failed.http: a failure says why")
	require.True(t, st.Failure.Class.Valid(), "failed.http: class %q", st.Failure.Class)
	require.NotEmpty(t, st.Failure.Message, "failed.http")
	for _, request := range c.double.Requests()[1:] {
		require.Equal(t, http.MethodGet, request.Method, "a poll changes nothing")
	}
}

func checkRefusal(t testing.TB, a Adapter) {
	if a.Unmoderated {
		return
	}
	c := a.calls(t)
	refused := a.reply(t, "refused.http")
	c.double.Answer(a.routed(t, refused.ServeHTTP))
	st, err := c.provider.Submit(t.Context(), a.Request)
	if err != nil && classify.Classify(err).Class == classify.ContentPolicy {
		_ = requireTyped(t, err, "refused.http")
		return
	}
	if err == nil && st.State == providers.Failed {
		require.Equal(t, classify.ContentPolicy, st.Failure.Class, "refused.http said to a submission")
		return
	}
	require.True(t, c.polls, "refused.http: a submission is refused by moderation, and the class is ContentPolicy (%v)", err)
	c.double.Answer(a.routed(t, refused.ServeHTTP))
	st, err = c.provider.Poll(t.Context(), c.ref)
	require.NoError(t, err, "refused.http said to a poll")
	require.NotNil(t, st.Failure, "refused.http said to a poll")
	require.Equal(t, classify.ContentPolicy, st.Failure.Class, "refused.http said to a poll")
}

func checkReplies(t testing.TB, a Adapter) {
	names, err := fs.Glob(a.Replies, "*-*.http")
	require.NoError(t, err)
	c := a.calls(t)
	for _, name := range names {
		parts := strings.Split(strings.TrimSuffix(name, ".http"), "-")
		class := classify.Class(parts[1])
		if !class.Valid() || parts[0] != "submit" && parts[0] != "poll" {
			continue
		}
		reply := a.reply(t, name)
		if parts[0] == "submit" {
			err := c.submit(t.Context(), reply.ServeHTTP)
			require.Equal(t, class, requireTyped(t, err, name).Class, "%s: %v", name, err)
			continue
		}
		c.double.Answer(a.routed(t, reply.ServeHTTP))
		st, err := c.provider.Poll(t.Context(), c.ref)
		if err == nil {
			require.NotNil(t, st.Failure, "%s: neither an error nor a failure", name)
			require.Equal(t, class, st.Failure.Class, name)
			continue
		}
		require.Equal(t, class, requireTyped(t, err, name).Class, "%s: %v", name, err)
	}
}

func checkStatuses(t testing.TB, a Adapter) {
	c := a.calls(t)
	submit := map[int]classify.Class{
		401: classify.Authentication, 402: classify.Quota, 403: classify.Authentication, 404: classify.NotFound,
		408: classify.UnknownOutcome, 422: classify.Validation, 429: classify.RateLimit,
		500: classify.UnknownOutcome, 502: classify.UnknownOutcome, 503: classify.UnknownOutcome,
		504: classify.UnknownOutcome, 524: classify.UnknownOutcome,
	}
	for status, class := range submit {
		if override, ok := a.Statuses[status]; ok {
			class = override
		}
		err := c.submit(t.Context(), page(status, "Retry-After", "7"))
		what := fmt.Sprintf("a gateway's %d", status)
		failure := requireTyped(t, err, what)
		require.Equal(t, class, failure.Class, "%s to a submission: %v", what, err)
		require.Equal(t, status, failure.Status, what)
		if status == http.StatusTooManyRequests {
			require.Equal(t, 7*time.Second, failure.RetryAfter, "Retry-After is kept")
		}
	}
	if !c.polls {
		return
	}
	for _, status := range []int{408, 429, 500, 502, 503, 504, 524} {
		requireBlip(t, c.poll(t.Context(), page(status)), fmt.Sprintf("a gateway's %d to a poll", status))
	}
	err := c.poll(t.Context(), page(http.StatusUnauthorized))
	require.Equal(t, classify.Authentication, classify.Classify(err).Class, "401 to a poll: %v", err)
}

func checkOneCall(t testing.TB, a Adapter) {
	c := a.calls(t)
	calls := func(call func(context.Context, http.HandlerFunc) error, answer http.HandlerFunc) int {
		before := len(c.double.Requests())
		_ = call(t.Context(), answer)
		return len(c.double.Requests()) - before
	}
	for what, answer := range map[string]http.HandlerFunc{
		"429": page(429, "Retry-After", "0"), "500": page(500), "503": page(503, "Retry-After", "0"), "cut off": cut, "401": page(401),
	} {
		require.Equal(t, 1, calls(c.submit, answer), "calls of one submission, answered with %s", what)
		if c.polls && what != "cut off" { // the transport may repeat a GET on a connection that was kept
			require.Equal(t, 1, calls(c.poll, answer), "calls of one poll, answered with %s", what)
		}
	}
}

func checkRedirect(t testing.TB, a Adapter) {
	elsewhere := NewDouble(t, a.reply(t, "submit.http").ServeHTTP)
	c := a.calls(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		err := c.submit(t.Context(), func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, status)
		})
		require.Error(t, err, "a submission was redirected with %d", status)
	}
	require.Empty(t, elsewhere.Requests(), "a submission is not sent again to where it is redirected")
}

func checkCancellation(t testing.TB, a Adapter) {
	c := a.calls(t)
	give := func(call func(context.Context, http.HandlerFunc) error) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- call(ctx, hang) }()
		requireWithin(t, a.patience, c.double.Arrived(), "the call arrives")
		cancel()
		return requireWithin(t, a.patience, done, "the call ends when its context does")
	}
	requireLost(t, give(c.submit), "canceled while waiting for the answer")
	if c.polls {
		require.Error(t, give(c.poll))
	}
}

func requireWithin[T any](t testing.TB, patience time.Duration, c <-chan T, what string) T {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-c:
		return v
	case <-timer.C:
		require.Fail(t, "waited in vain", what)
		panic("unreachable")
	}
}

func checkUnanswered(t testing.TB, a Adapter) {
	c := a.calls(t)
	requireLost(t, c.submit(t.Context(), cut), "accepted and then cut off")
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	requireLost(t, c.submit(ctx, hang), "no answer in time")
	if c.polls {
		requireBlip(t, c.poll(t.Context(), cut), "cut off")
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		requireBlip(t, c.poll(ctx, hang), "no answer in time")
	}
}

func checkGarbage(t testing.TB, a Adapter) {
	c := a.calls(t)
	bodies := map[string]http.HandlerFunc{
		"HTML":    page(http.StatusOK),
		"nothing": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "application/json") },
	}
	for _, body := range []string{`{}`, `null`, `[]`, `"ok"`, `{"id":`} {
		bodies[body] = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, body)
		}
	}
	for what, answer := range bodies {
		requireLost(t, c.submit(t.Context(), answer), what)
		if c.polls && !(a.EmptyPoll && what == `{}`) {
			requireBlip(t, c.poll(t.Context(), answer), what)
		}
	}
}

func checkTruncated(t testing.TB, a Adapter) {
	c := a.calls(t)
	requireLost(t, c.submit(t.Context(), a.reply(t, "submit.http").truncated), "the answer breaks off")
	if c.polls {
		requireBlip(t, c.poll(t.Context(), a.reply(t, "succeeded.http").truncated), "the answer breaks off")
	}
}

func checkSlowBody(t testing.TB, a Adapter) {
	c := a.calls(t)
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	requireLost(t, c.submit(ctx, a.reply(t, "submit.http").unfinished), "the answer does not end")
	if c.polls {
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		requireBlip(t, c.poll(ctx, a.reply(t, "succeeded.http").unfinished), "the answer does not end")
	}
}

func checkTooLarge(t testing.TB, a Adapter) {
	c := a.calls(t)
	var complete bool
	var mu sync.Mutex
	answer := func(w http.ResponseWriter, r *http.Request) {
		endless(w, r)
		mu.Lock()
		defer mu.Unlock()
		complete = r.Context().Err() == nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), a.patience)
	defer cancel()
	requireLost(t, c.submit(ctx, answer), "the answer is too large")
	require.NoError(t, ctx.Err(), "an answer that is too large is given up, not waited for")
	mu.Lock()
	defer mu.Unlock()
	require.False(t, complete, "all of it was read")
}

func checkStrange(t testing.TB, a Adapter) {
	c := a.calls(t)
	if !c.polls {
		return
	}
	err := c.poll(t.Context(), a.reply(t, "strange.http").ServeHTTP)
	require.Error(t, err, "a state that nobody documented is not Running")
	require.NotEqual(t, classify.NotFound, classify.Classify(err).Class, "it is not gone either")
	_ = requireTyped(t, err, "strange.http")
}

func checkUnreachable(t testing.TB, a Adapter) {
	c := a.calls(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nowhere := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	p := a.New(nowhere)
	_, err = p.Submit(t.Context(), a.Request)
	require.Equal(t, classify.Network, requireTyped(t, err, "nobody is there").Class, "nothing was sent: %v", err)
	require.NotErrorIs(t, err, providers.ErrNotCalled, "the provider was tried, and that counts")
	if c.polls {
		ref := c.ref
		ref.PollURL = strings.Replace(ref.PollURL, c.double.URL, nowhere, 1)
		_, err = p.Poll(t.Context(), ref)
		require.Equal(t, classify.Network, requireTyped(t, err, "nobody is there").Class, "%v", err)
	}
}

// late is a context whose deadline has passed although nothing has told it so:
// what a process sees that was paused and has just been woken.
type late struct{ context.Context }

func (late) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

func checkDeadline(t testing.TB, a Adapter) {
	p, double := a.start(t, a.reply(t, "submit.http").ServeHTTP)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for what, ctx := range map[string]context.Context{"canceled": canceled, "paused past the deadline": late{t.Context()}} {
		_, err := p.Submit(ctx, a.Request)
		require.ErrorIs(t, err, providers.ErrNotCalled, what)
		require.Equal(t, classify.Network, classify.Classify(err).Class, what)
	}
	require.Empty(t, double.Requests(), "nothing is sent after the deadline")
}

func checkKeepsSecret(t testing.TB, a Adapter) {
	c := a.calls(t)
	check := func(err error, what string) {
		t.Helper()
		require.Error(t, err, what)
		for e := err; e != nil; e = errors.Unwrap(e) {
			requireSilent(t, fmt.Sprintf("%v %+v", e, e), what)
		}
		var failure *classify.Error
		if errors.As(err, &failure) {
			requireSilent(t, fmt.Sprintf("%+v %v", *failure, failure.Cause), what)
		}
	}
	for _, status := range []int{400, 401, 403, 422, 429, 500, 503} {
		what := fmt.Sprintf("a %d that quotes the request", status)
		check(c.submit(t.Context(), echo(status)), what)
		if c.polls {
			check(c.poll(t.Context(), echo(status)), what)
		}
	}
	check(c.submit(t.Context(), cut), "cut off")
	check(c.submit(t.Context(), page(http.StatusOK)), "garbage")
	check(c.submit(t.Context(), echo(http.StatusOK)), "an error with a status of success that quotes the request")
	_, err := a.New("http://127.0.0.1:1").Submit(t.Context(), a.Request)
	check(err, "unreachable")
	requireSilent(t, fmt.Sprintf("%+v %#v", c.provider.Capabilities(), c.provider.Capabilities()), "capabilities")
}

func requireSilent(t testing.TB, text, what string) {
	t.Helper()
	// Not require.NotContains: it would print what it found.
	require.False(t, strings.Contains(text, Secret), "%s: an error prints the credential", what)
	require.False(t, strings.Contains(text, Prompt), "%s: an error prints the prompt", what)
}

func checkConcurrent(t testing.TB, a Adapter) {
	c := a.calls(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			_, err := c.provider.Submit(t.Context(), a.Request)
			assert.NoError(t, err)
			c.provider.Capabilities()
		})
	}
	group.Wait()
}

func checkCancel(t testing.TB, a Adapter) {
	c := a.calls(t)
	canceler, ok := c.provider.(providers.Canceler)
	if !ok || !c.polls {
		return
	}
	cancel := func(answer http.HandlerFunc) error {
		c.double.Answer(a.routed(t, answer))
		return canceler.Cancel(t.Context(), c.ref)
	}
	var calls atomic.Int64 // beside those that have replies of their own
	require.NoError(t, cancel(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		a.reply(t, "canceled.http").ServeHTTP(w, r)
	}))
	require.EqualValues(t, 1, calls.Load(), "one call")
	require.NoError(t, cancel(page(http.StatusNotFound)), "what the provider does not know needs no cancel")
	requireBlip(t, cancel(page(http.StatusServiceUnavailable)), "busy")
}

func checkFind(t testing.TB, a Adapter) {
	c := a.calls(t)
	finder, ok := c.provider.(providers.Finder)
	if !ok || !c.polls {
		return
	}
	require.GreaterOrEqual(t, finder.ListLag(), time.Duration(0))
	find := func(answer http.HandlerFunc) (providers.Status, error) {
		c.double.Answer(a.routed(t, answer))
		return finder.Find(t.Context(), providers.Lost{Request: a.Request, SentAt: time.Now()})
	}
	for what, answer := range map[string]http.HandlerFunc{
		"500": page(500), "429": page(429), "401": page(401), "404": page(404), "cut off": cut, "garbage": page(200),
	} {
		_, err := find(answer)
		require.Error(t, err, what)
		require.NotErrorIs(t, err, providers.ErrAbsent, "%s: who could not ask does not know", what)
	}
	st, err := find(a.reply(t, "found.http").ServeHTTP)
	require.NoError(t, err, "found.http")
	require.NotEmpty(t, st.RemoteID, "found.http: what was found has an id")
}

func checkDownload(t testing.TB, a Adapter) {
	c := a.calls(t)
	downloader, ok := c.provider.(providers.Downloader)
	if !ok || !c.polls {
		return
	}
	c.double.Answer(a.routed(t, a.reply(t, "succeeded.http").ServeHTTP))
	st, err := c.provider.Poll(t.Context(), c.ref)
	require.NoError(t, err)
	require.NotEmpty(t, st.Outputs)
	reply := a.reply(t, "download.http")
	c.double.Answer(reply.ServeHTTP)
	body, err := downloader.Download(t.Context(), c.ref, st.Outputs[0])
	require.NoError(t, err, "download.http")
	data, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	require.Equal(t, reply.Body, data, "the bytes are those of the provider")

	c.double.Answer(page(http.StatusNotFound))
	_, err = downloader.Download(t.Context(), c.ref, st.Outputs[0])
	require.Equal(t, classify.NotFound, classify.Classify(err).Class, "an output that is gone: %v", err)
	c.double.Answer(page(http.StatusBadGateway))
	_, err = downloader.Download(t.Context(), c.ref, st.Outputs[0])
	requireBlip(t, err, "502")
	c.double.Answer(reply.truncated)
	if body, err = downloader.Download(t.Context(), c.ref, st.Outputs[0]); err == nil {
		_, err = io.ReadAll(body)
		_ = body.Close()
	}
	requireBlip(t, err, "the file breaks off")
}
