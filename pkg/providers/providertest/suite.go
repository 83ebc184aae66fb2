// Package providertest is the contract of package providers as a test suite.
// Every adapter passes it: it says how to make the adapter, and keeps the
// answers of its provider as files.
//
//	func TestContract(t *testing.T) {
//		providertest.Run(t, providertest.Adapter{
//			New: func(baseURL string) providers.Provider {
//				return lumen.New(lumen.Config{BaseURL: baseURL, APIKey: providertest.Secret})
//			},
//			Replies: os.DirFS("testdata"),
//		})
//	}
//
// # The replies
//
// A reply is a file that holds an HTTP response, see [Reply].
//
//	submit.http      the answer to a submission that was accepted
//	running.http     answers to polls
//	succeeded.http
//	failed.http
//	strange.http     a poll's answer with a state that nobody documented
//	refused.http     moderation, said to a submission or to a poll
//	canceled.http    where the adapter is a Canceler
//	found.http       where the adapter is a Finder
//	download.http    where the adapter is a Downloader
//
// A provider that answers a submission with the result has submit.http and
// refused.http only. Beside these any number of errors can stand, named for the
// call and the class: submit-quota.http, poll-not_found.http, and with anything
// after another dash, submit-rate_limit-burst.http.
//
// # What it refuses to know
//
// Any provider. What a provider's requests look like is for the adapter's own
// tests to say.
package providertest

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Secret is the credential to give to the adapter. It must never be printed.
const Secret = "sk-providertest-7f3a91c2d4e8"

// Prompt is the prompt of the default request. It must never be printed either.
const Prompt = "an embarrassing secret painted on a barn door"

// Adapter says how to test an adapter.
type Adapter struct {
	// New makes the adapter, to speak to baseURL with [Secret].
	New func(baseURL string) providers.Provider
	// Replies holds the provider's answers.
	Replies fs.FS
	// Request is what to submit. The default is a text-to-image with [Prompt].
	Request providers.Request
	// Route names the reply to a request that is not the test's own: the
	// second of two calls that the adapter makes for one method. Empty means
	// that the request is the test's own.
	Route func(*http.Request) string
	// Statuses overrides what a bare status means on a submission.
	Statuses map[int]classify.Class
	// Unauthorized says that the provider takes no credential.
	Unauthorized bool
	// Webhook is how the provider reports the generation of submit.http. A
	// [providers.WebhookReader] has to have it.
	Webhook *Webhook
	// Unmoderated says that the provider makes what it is asked for: there is
	// no refused.http.
	Unmoderated bool
	// EmptyPoll says that {} is how the provider answers a poll of a generation
	// that has not ended.
	EmptyPoll bool

	// patience is how long an adapter may take to notice what it should. It
	// is only ever waited for when a test fails.
	patience time.Duration
}

// checks is the contract, one promise each.
var checks = []struct {
	name string
	run  func(testing.TB, Adapter)
}{
	{"Capabilities", checkCapabilities}, // says what it can do, always the same
	{"Submit", checkSubmit},             // returns an id to poll, or the result
	{"Poll", checkPoll},                 // running, succeeded, failed
	{"Refusal", checkRefusal},           // moderation is ContentPolicy, not Validation
	{"Replies", checkReplies},           // each error file has the class that it is named for
	{"Statuses", checkStatuses},         // 401, 402, 422, 429, 5xx; Retry-After kept
	{"Verdicts", checkVerdicts},         // of each fault: accepted, surely not, or nobody knows
	{"OneCall", checkOneCall},           // no retries of its own
	{"Redirect", checkRedirect},         // a paid call is not sent again elsewhere
	{"Cancellation", checkCancellation}, // gives up when its context does
	{"Unanswered", checkUnanswered},     // a submission cut off is UnknownOutcome
	{"Garbage", checkGarbage},           // HTML where JSON should be
	{"Truncated", checkTruncated},       // an answer that breaks off
	{"SlowBody", checkSlowBody},         // an answer that never ends, slowly
	{"TooLarge", checkTooLarge},         // an answer that never ends, fast
	{"Limits", checkLimits},             // nor an error or a poll that never ends
	{"Strange", checkStrange},           // a state nobody documented is an error
	{"NewFields", checkNewFields},       // a field nobody documented is none
	{"Unreachable", checkUnreachable},   // no server there: Network, nothing was bought
	{"DeadlinePassed", checkDeadline},   // it is too late: not called
	{"KeepsSecret", checkKeepsSecret},   // no error prints the credential or the prompt
	{"Files", checkFiles},               // input files go the way that is declared
	{"Concurrent", checkConcurrent},     // methods are called at the same time
	{"Cancel", checkCancel},             // of what has ended or is unknown: no error
	{"Find", checkFind},                 // never says absent when it could not ask
	{"GivesUp", checkGivesUp},           // cancels and look-ups end with their context
	{"Download", checkDownload},         // the bytes, or why not
	{"Webhook", checkWebhook},           // a genuine one is a hint, a forged one is refused
}

// Run holds the adapter to the contract.
func Run(t *testing.T, a Adapter) {
	t.Helper()
	a = a.withDefaults(t)
	for _, check := range checks {
		t.Run(check.name, func(t *testing.T) {
			t.Parallel()
			check.run(t, a)
		})
	}
}

func (a Adapter) withDefaults(t testing.TB) Adapter {
	t.Helper()
	require.NotNil(t, a.New, "Adapter.New is missing")
	require.NotNil(t, a.Replies, "Adapter.Replies is missing")
	if a.Request.Feature == "" {
		a.Request = providers.Request{
			JobID: "job_1", ClientID: "job_1-1", Submission: 1,
			Feature: tasks.TextToImage, Input: map[string]any{"prompt": Prompt},
		}
	}
	if a.patience == 0 {
		a.patience = time.Minute
	}
	return a
}

// start makes the adapter and the double that it speaks to.
func (a Adapter) start(t testing.TB, answer http.HandlerFunc) (providers.Provider, *Double) {
	t.Helper()
	double := NewDouble(t, a.routed(t, answer))
	return a.New(double.URL), double
}

// routed lets the adapter's further calls have their own replies.
func (a Adapter) routed(t testing.TB, answer http.HandlerFunc) http.HandlerFunc {
	if a.Route == nil {
		return answer
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if name := a.Route(r); name != "" {
			reply, err := ReadReply(a.Replies, name)
			if err != nil {
				t.Errorf("Route: %v", err)
			}
			reply.ServeHTTP(w, r)
			return
		}
		answer(w, r)
	}
}

// reply is the file of that name, which has to be there.
func (a Adapter) reply(t testing.TB, name string) Reply {
	t.Helper()
	return MustReply(t, a.Replies, name)
}

// submitted is the provider's answer to an accepted submission, at a double.
func (a Adapter) submitted(t testing.TB) (providers.Provider, *Double, providers.Status) {
	t.Helper()
	p, double := a.start(t, a.reply(t, "submit.http").ServeHTTP)
	st, err := p.Submit(t.Context(), a.Request)
	require.NoError(t, err, "submit.http")
	return p, double, st
}

// ref names a submission that was accepted.
func (a Adapter) ref(st providers.Status) providers.Ref {
	return providers.Ref{
		RemoteID: st.RemoteID, PollURL: st.PollURL, CancelURL: st.CancelURL, Feature: a.Request.Feature,
		Model: a.Request.Model, ClientID: a.Request.ClientID, SentAt: time.Now(),
	}
}

// calls are the two calls that each fault is tried on.
type calls struct {
	t        testing.TB
	adapter  Adapter
	provider providers.Provider
	double   *Double
	ref      providers.Ref
	polls    bool // false: the provider answers a submission with the result
}

func (a Adapter) calls(t testing.TB) *calls {
	t.Helper()
	p, double, st := a.submitted(t)
	<-double.Arrived()
	return &calls{t: t, adapter: a, provider: p, double: double, ref: a.ref(st), polls: !st.State.Done()}
}

// submit submits while the server answers like this.
func (c *calls) submit(ctx context.Context, answer http.HandlerFunc) error {
	c.double.Answer(c.adapter.routed(c.t, answer))
	_, err := c.provider.Submit(ctx, c.adapter.Request)
	return err
}

// poll polls while the server answers like this.
func (c *calls) poll(ctx context.Context, answer http.HandlerFunc) error {
	c.double.Answer(c.adapter.routed(c.t, answer))
	_, err := c.provider.Poll(ctx, c.ref)
	return err
}

// requireLost holds that the error says: it may have been accepted.
func requireLost(t testing.TB, err error, what string) {
	t.Helper()
	require.Error(t, err, what)
	require.Equal(t, classify.UnknownOutcome, classify.Classify(err).Class,
		"%s: the provider may have accepted the submission (%v)", what, err)
}

// requireBlip holds that the error says: ask again.
func requireBlip(t testing.TB, err error, what string) {
	t.Helper()
	require.Error(t, err, what)
	require.True(t, classify.IsTransient(err), "%s: a poll may be tried again (%v)", what, err)
}

// requireTyped holds that the error names its class and its provider.
func requireTyped(t testing.TB, err error, what string) *classify.Error {
	t.Helper()
	var failure *classify.Error
	if !errors.As(err, &failure) {
		require.Fail(t, "errors carry a class", "%s: %v is no *classify.Error", what, err)
	}
	require.NotEmpty(t, failure.Message, "%s: errors have a message for people", what)
	return failure
}
