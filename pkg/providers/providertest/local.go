package providertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Behavior is what a generator of this machine does with a submission.
type Behavior string

// The behaviors. A generator that quotes writes everything it was given to
// where an error message may take it from, and fails.
const (
	Answers Behavior = "answers" // makes an output
	Fails   Behavior = "fails"   // ends without success
	Hangs   Behavior = "hangs"   // never ends
	Floods  Behavior = "floods"  // makes far too much
	Empty   Behavior = "empty"   // ends with success and no output
	Quotes  Behavior = "quotes"
	Missing Behavior = "missing" // is not there
)

// Local says how to test an adapter that speaks no HTTP: it runs its generator
// itself, and so it knows whether anything was begun.
type Local struct {
	// New makes the adapter, with a generator that behaves like this. Started
	// gets a value when the generator that hangs has begun.
	New func(t testing.TB, b Behavior, started chan<- struct{}) providers.Provider
	// Request is what to submit, with [Prompt] in it.
	Request providers.Request
	// Alive counts the generators that still run.
	Alive func() int

	// patience is how long an adapter may take to notice what it should. It
	// is only ever waited for when a test fails.
	patience time.Duration
}

// localChecks are those of the contract that a generator without a network can
// keep or break.
var localChecks = []struct {
	name string
	run  func(testing.TB, Local)
}{
	{"Capabilities", localCapabilities}, // says what it can do, always the same
	{"Submit", localSubmit},             // returns the result
	{"Poll", localPoll},                 // there is nothing to poll
	{"Failure", localFailure},           // a generation that failed, or brought nothing, is a Status
	{"Cancellation", localCancellation}, // gives up when its context does, and ends what it began
	{"Deadline", localDeadline},         // the same when its time is over
	{"Unwanted", localUnwanted},         // and when nobody wants it any more
	{"TooLarge", localTooLarge},         // what is too much is not kept
	{"Unreachable", localUnreachable},   // no generator there: Network
	{"DeadlinePassed", localTooLate},    // it is too late: not begun
	{"KeepsSecret", localKeepsSecret},   // no error prints the prompt or our environment
	{"Concurrent", localConcurrent},     // methods are called at the same time
	{"Find", localFind},                 // absent once it is over, never before
}

// RunLocal holds the adapter to the contract.
func RunLocal(t *testing.T, l Local) {
	t.Helper()
	l = l.withDefaults()
	for _, check := range localChecks {
		t.Run(check.name, func(t *testing.T) { check.run(t, l) }) // one at a time: Alive counts them all
	}
}

func (l Local) withDefaults() Local {
	if l.patience == 0 {
		l.patience = time.Minute
	}
	return l
}

func (l Local) numbered(n int) providers.Request {
	req := l.Request
	req.Submission = n
	return req
}

func localCapabilities(t testing.TB, l Local) {
	requireCapabilities(t, l.New(t, Answers, nil), l.Request)
}

func localSubmit(t testing.TB, l Local) {
	p := l.New(t, Answers, nil)
	st, err := p.Submit(t.Context(), l.Request)
	require.NoError(t, err)
	requireSucceeded(t, p, st)
	require.Zero(t, l.Alive(), "what was begun is over")
}

func localPoll(t testing.TB, l Local) {
	_, err := l.New(t, Answers, nil).Poll(t.Context(), providers.Ref{RemoteID: "x"})
	require.Equal(t, classify.NotFound, classify.Classify(err).Class, "there is nothing to poll: %v", err)
}

func localFailure(t testing.TB, l Local) {
	for _, b := range []Behavior{Fails, Empty} {
		st, err := l.New(t, b, nil).Submit(t.Context(), l.Request)
		require.NoError(t, err, "it is known how the generation fared")
		require.Equal(t, providers.Failed, st.State, b)
		require.Equal(t, classify.GenerationFailed, st.Failure.Class, b)
		require.NotEmpty(t, st.Failure.Message)
	}
}

// interrupted submits to a generator that hangs, and interrupts it.
func (l Local) interrupted(t testing.TB, req providers.Request, interrupt func(context.CancelFunc)) (providers.Status, error) {
	started := make(chan struct{}, 1)
	p := l.New(t, Hangs, started)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type answer struct {
		st  providers.Status
		err error
	}
	done := make(chan answer, 1)
	go func() {
		st, err := p.Submit(ctx, req)
		done <- answer{st, err}
	}()
	requireWithin(t, l.patience, started, "the generator begins")
	interrupt(cancel)
	got := requireWithin(t, l.patience, done, "the submission ends")
	require.Zero(t, l.Alive(), "what was begun is ended")
	return got.st, got.err
}

func localCancellation(t testing.TB, l Local) {
	_, err := l.interrupted(t, l.Request, func(cancel context.CancelFunc) { cancel() })
	require.Equal(t, classify.Canceled, requireTyped(t, err, "canceled").Class)
}

func localDeadline(t testing.TB, l Local) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	type answer struct {
		st  providers.Status
		err error
	}
	p, done := l.New(t, Hangs, make(chan struct{}, 1)), make(chan answer, 1)
	go func() {
		st, err := p.Submit(ctx, l.Request)
		done <- answer{st, err}
	}()
	got := requireWithin(t, l.patience, done, "the submission ends with its time")
	require.NoError(t, got.err, "it is known how the generation fared: it was ended")
	require.Equal(t, providers.Failed, got.st.State)
	require.Zero(t, l.Alive(), "what was begun is ended")
}

func localUnwanted(t testing.TB, l Local) {
	req := l.Request
	req.Report = func(context.Context, *float64, string) bool { return false }
	_, err := l.interrupted(t, req, func(context.CancelFunc) {})
	require.Equal(t, classify.Canceled, requireTyped(t, err, "unwanted").Class)
}

func localTooLarge(t testing.TB, l Local) {
	st, err := l.New(t, Floods, nil).Submit(t.Context(), l.Request)
	require.NoError(t, err)
	require.Equal(t, providers.Failed, st.State)
	require.Empty(t, st.Outputs)
}

func localUnreachable(t testing.TB, l Local) {
	_, err := l.New(t, Missing, nil).Submit(t.Context(), l.Request)
	require.Equal(t, classify.Network, requireTyped(t, err, "no generator").Class, "%v", err)
	require.NotErrorIs(t, err, providers.ErrNotCalled, "it was tried, and that counts")
}

func localTooLate(t testing.TB, l Local) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for what, ctx := range map[string]context.Context{"canceled": canceled, "paused past the deadline": late{t.Context()}} {
		_, err := l.New(t, Answers, nil).Submit(ctx, l.Request)
		require.ErrorIs(t, err, providers.ErrNotCalled, what)
		require.Equal(t, classify.Network, classify.Classify(err).Class, what)
	}
}

func localKeepsSecret(t testing.TB, l Local) {
	p := l.New(t, Quotes, nil)
	st, err := p.Submit(t.Context(), l.Request)
	require.NoError(t, err)
	require.NotNil(t, st.Failure)
	requireSilent(t, fmt.Sprintf("%+v %+v %v", *st.Failure, st, st.Failure.Cause), "a failure that quotes everything")
	_, err = l.New(t, Missing, nil).Submit(t.Context(), l.Request)
	require.Error(t, err)
	for e := err; e != nil; e = errors.Unwrap(e) {
		requireSilent(t, fmt.Sprintf("%v %+v", e, e), "no generator")
	}
	requireSilent(t, fmt.Sprintf("%+v", p.Capabilities()), "capabilities")
}

func localConcurrent(t testing.TB, l Local) {
	p := l.New(t, Answers, nil)
	done := make(chan struct{})
	const many = 8
	for n := range many {
		go func() {
			defer func() { done <- struct{}{} }()
			_, err := p.Submit(t.Context(), l.numbered(n+1))
			assert.NoError(t, err)
			p.Capabilities()
		}()
	}
	for range many {
		<-done
	}
}

func localFind(t testing.TB, l Local) {
	p := l.New(t, Answers, nil)
	finder, ok := p.(providers.Finder)
	if !ok {
		return
	}
	lost := providers.Lost{Request: l.Request, SentAt: time.Now()}
	_, err := finder.Find(t.Context(), lost)
	require.Error(t, err)
	require.NotErrorIs(t, err, providers.ErrAbsent, "what is not known may run elsewhere")
	_, err = p.Submit(t.Context(), l.Request)
	require.NoError(t, err)
	_, err = finder.Find(t.Context(), lost)
	require.ErrorIs(t, err, providers.ErrAbsent, "it ran here, and is over")
}

// requireCapabilities holds that the provider says what it can do.
func requireCapabilities(t testing.TB, p providers.Provider, req providers.Request) {
	t.Helper()
	c := p.Capabilities()
	require.NotEmpty(t, c.Features, "a provider offers something")
	seen := map[tasks.Feature]bool{}
	for _, f := range c.Features {
		require.NotEmpty(t, f.Feature)
		require.False(t, seen[f.Feature], "%s is offered twice", f.Feature)
		seen[f.Feature] = true
		requireSchema(t, f)
	}
	require.True(t, seen[req.Feature], "the tested feature is offered")
	require.Equal(t, c, p.Capabilities(), "capabilities do not change")
	if checker, ok := p.(providers.InputChecker); ok {
		require.NoError(t, checker.CheckInput(req.Feature, req.Model, req.Input), "the tested input is good")
	}
}
