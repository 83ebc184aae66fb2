package providertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// lumen is a small adapter, right as it stands. With a fault it is wrong in one
// way.
type lumen struct {
	client  *providers.Client
	baseURL string
	fault   string
	asked   atomic.Int64
}

func newLumen(baseURL, fault string) *lumen {
	client, err := providers.NewClient(providers.ClientConfig{
		Provider: "lumen", BaseURL: baseURL,
		Authorize:   func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+Secret) },
		Classes:     map[string]classify.Class{"unsafe": classify.ContentPolicy, "no_credit": classify.Quota},
		DecodeError: decodeError,
	})
	if err != nil {
		panic(err)
	}
	return &lumen{client: client, baseURL: baseURL, fault: fault}
}

func decodeError(_ int, _ http.Header, body []byte) *classify.Error {
	var reply struct {
		Error struct{ Code, Message string }
	}
	if json.Unmarshal(body, &reply) != nil || reply.Error.Message == "" {
		return nil //nolint:nilerr // a body in no known form says nothing
	}
	return &classify.Error{Code: reply.Error.Code, Message: reply.Error.Message}
}

func (l *lumen) Capabilities() providers.Capabilities {
	asked := l.asked.Add(1)
	c := providers.Capabilities{Features: []providers.FeatureCapability{{
		Feature: tasks.TextToImage, Input: json.RawMessage(`{"type":"object"}`),
	}, {
		Feature: tasks.ImageToImage, Input: json.RawMessage(`{"type":"object","properties":{"prompt":{}}}`),
	}}, Files: providers.HandoverURL}
	if l.fault == "capabilities change" {
		c.Poll.First = time.Duration(asked)
	}
	return c
}

type drawing struct {
	ID     string
	State  string
	URL    string
	Reason string
}

var drawingStates = map[string]providers.State{
	"waiting": providers.Queued, "drawing": providers.Running, "finished": providers.Succeeded, "broken": providers.Failed,
}

func (l *lumen) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	st, err := l.submit(ctx, req)
	switch {
	case l.fault == "retries" && err != nil:
		return l.submit(ctx, req)
	case l.fault == "forgets the id":
		st.RemoteID = ""
	case l.fault == "forgets the wait":
		var failure *classify.Error
		if errors.As(err, &failure) {
			failure.RetryAfter = 0
		}
	case l.fault == "moderation is the caller's mistake" && classify.Classify(err).Class == classify.ContentPolicy:
		err = &classify.Error{Class: classify.Validation, Message: "no"}
	case l.fault == "prints the key" && err != nil:
		err = fmt.Errorf("with key %s: %w", Secret, err)
	case l.fault == "prints the prompt" && err != nil:
		err = fmt.Errorf("%v: %w", req.Input, err)
	case l.fault == "hides the key in the cause" && err != nil:
		err = &classify.Error{Class: classify.Classify(err).Class, Message: "failed", Cause: errors.New(Secret)}
	case l.fault == "is never sure" && classify.Classify(err).Class == classify.Network:
		err = &classify.Error{Class: classify.UnknownOutcome, Message: "lost"}
	case l.fault == "takes a gateway's word" && classify.Classify(err).Status >= 500:
		err = &classify.Error{Class: classify.Server, Message: "down"}
	case l.fault == "doubts each answer" && classify.Classify(err).Status == http.StatusConflict:
		err = &classify.Error{Class: classify.UnknownOutcome, Message: "lost"}
	case l.fault == "knows one status only" && err == nil && l.asked.Add(1) > 3:
		err = &classify.Error{Class: classify.UnknownOutcome, Message: "lost"}
	case l.fault == "money is rate" && classify.Classify(err).Class == classify.Quota:
		err = &classify.Error{Class: classify.RateLimit, Message: "slow down"}
	}
	return st, err
}

func (l *lumen) submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	switch l.fault {
	case "ignores its context":
		ctx = context.WithoutCancel(ctx)
	case "follows redirects", "reads without end", "makes do with half":
		return l.byHand(ctx, req)
	}
	if l.fault == "is strict about fields" {
		return l.byHand(ctx, req)
	}
	if err := req.NeedURLs(); err != nil && l.fault != "sends what is to be fetched" {
		return providers.Status{}, err
	}
	input := req.WithFiles(providers.Attachment.Address)
	if l.fault == "forgets the files" {
		input = req.Input
	}
	var out drawing
	submit := l.fault != "does not mark the paid call"
	if _, err := l.client.JSON(ctx, providers.Call{URL: "/drawings", Submit: submit}, input, &out); err != nil {
		return providers.Status{}, err
	}
	return l.status(out, true)
}

// byHand is how one would write it without the client.
func (l *lumen) byHand(ctx context.Context, req providers.Request) (providers.Status, error) {
	lost := &classify.Error{Class: classify.UnknownOutcome, Message: "lost"}
	raw, _ := json.Marshal(req.Input)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.baseURL+"/drawings", bytes.NewReader(raw))
	if err != nil {
		return providers.Status{}, err
	}
	request.Header.Set("Authorization", "Bearer "+Secret)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return providers.Status{}, lost
	}
	defer func() { _ = response.Body.Close() }()
	if l.fault == "reads without end" {
		_, _ = io.Copy(io.Discard, io.MultiReader(response.Body))
		return providers.Status{}, lost
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil && l.fault == "makes do with half" {
		return providers.Status{State: providers.Queued, RemoteID: "?"}, nil
	}
	var out drawing
	decoder := json.NewDecoder(bytes.NewReader(body))
	if l.fault == "is strict about fields" {
		decoder.DisallowUnknownFields()
	}
	if decoder.Decode(&out) != nil {
		return providers.Status{}, lost
	}
	return l.status(out, true)
}

func (l *lumen) Poll(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	if l.fault == "reads polls without end" {
		return l.pollByHand(ctx, ref)
	}
	var out drawing
	if _, err := l.client.JSON(ctx, providers.Call{URL: "/drawings/" + url.PathEscape(ref.RemoteID)}, nil, &out); err != nil {
		return providers.Status{}, err
	}
	return l.status(out, false)
}

// pollByHand is how one would write it without the client.
func (l *lumen) pollByHand(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	blip := &classify.Error{Class: classify.Server, Message: "unreadable"}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.baseURL+"/drawings/"+ref.RemoteID, nil)
	if err != nil {
		return providers.Status{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return providers.Status{}, blip
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.MultiReader(response.Body))
	return providers.Status{}, blip
}

func (l *lumen) status(d drawing, submitted bool) (providers.Status, error) {
	state, known := drawingStates[d.State]
	if l.fault == "takes the unknown for running" && d.State != "" {
		state, known = providers.Running, true
	}
	if l.fault == "takes nothing for running" && d.ID == "" {
		return providers.Status{State: providers.Running, RemoteID: "0"}, nil
	}
	if !known || d.ID == "" {
		return providers.Status{}, l.client.Strange(submitted, "unknown state or no id")
	}
	st := providers.Status{State: state, RemoteID: d.ID}
	if state == providers.Succeeded {
		st.Outputs = []providers.Output{{Kind: "image", URL: d.URL}}
	}
	if state == providers.Failed && l.fault != "fails without a reason" {
		st.Failure = &classify.Error{Class: classify.GenerationFailed, Message: d.Reason}
	}
	return st, nil
}

func (l *lumen) Cancel(ctx context.Context, ref providers.Ref) error {
	if l.fault == "cancels without its context" {
		ctx = context.WithoutCancel(ctx)
	}
	_, err := l.client.Do(ctx, providers.Call{Method: http.MethodDelete, URL: "/drawings/" + url.PathEscape(ref.RemoteID)})
	if classify.Classify(err).Class == classify.NotFound && l.fault != "cancels only what is there" {
		return nil
	}
	return err
}

func (l *lumen) ListLag() time.Duration { return time.Second }

func (l *lumen) Find(ctx context.Context, lost providers.Lost) (providers.Status, error) {
	var out struct {
		Drawings *[]struct {
			drawing
			Prompt string
		}
	}
	_, err := l.client.JSON(ctx, providers.Call{URL: "/drawings"}, nil, &out)
	if err == nil && out.Drawings == nil {
		err = l.client.Strange(false, "no list")
	}
	if err != nil {
		if l.fault == "takes silence for absence" {
			return providers.Status{}, providers.ErrAbsent
		}
		return providers.Status{}, err
	}
	for _, d := range *out.Drawings {
		if d.Prompt == lost.Request.Text("prompt", "") {
			return l.status(d.drawing, false)
		}
	}
	return providers.Status{}, providers.ErrAbsent
}

func (l *lumen) Download(ctx context.Context, _ providers.Ref, out providers.Output) (providers.Body, error) {
	body, err := l.client.Open(ctx, providers.Call{URL: strings.TrimPrefix(out.URL, l.baseURL)}, 1<<20)
	if err == nil && l.fault == "downloads the start" {
		return providers.NewBody([]byte("first"), ""), body.Close()
	}
	return body, err
}

func (l *lumen) ValidRemoteID(id string) bool {
	return id != "" && len(id) < 100 && !strings.ContainsAny(id, "/?#") || l.fault == "takes any id"
}

const webhookSecret = "whsec_bHVtZW4="

func (l *lumen) ReadWebhook(ctx context.Context, header http.Header, body []byte) (providers.Hint, error) {
	w := providers.Webhook{Header: header, Body: body, At: time.Now()}
	switch l.fault {
	case "believes any webhook":
	case "believes old webhooks":
		w.At = time.Unix(0, 0)
		if seconds, err := strconv.ParseInt(header.Get("Webhook-Timestamp"), 10, 64); err == nil {
			w.At = time.Unix(seconds, 0)
		}
		fallthrough
	default:
		if err := w.VerifyStandard(webhookSecret); err != nil {
			return providers.Hint{}, err
		}
	}
	if l.fault == "fetches keys each time" {
		_, _ = l.client.Do(ctx, providers.Call{URL: "/keys"})
	}
	if l.fault == "believes webhooks about nothing" {
		return providers.Hint{RemoteID: "d-1"}, nil
	}
	return w.Hint("", l.ValidRemoteID, "id")
}

func lumenAdapter(fault string) Adapter {
	return Adapter{
		Webhook: &Webhook{Body: `{"id":"d-1","state":"finished"}`, Sign: SignStandard(webhookSecret)},
		New:     func(baseURL string) providers.Provider { return newLumen(baseURL, fault) },
		Replies: os.DirFS("testdata/lumen"),
	}
}

func TestGoodAdapterPasses(t *testing.T) {
	t.Parallel()
	Run(t, lumenAdapter(""))
}

// flash answers a submission with the result.
type flash struct{ *lumen }

func (f flash) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	if err := req.NeedURLs(); err != nil {
		return providers.Status{}, err
	}
	var out drawing
	if _, err := f.client.JSON(ctx, providers.Call{URL: "/drawings", Submit: true}, req.WithFiles(providers.Attachment.Address), &out); err != nil {
		return providers.Status{}, err
	}
	if out.URL == "" {
		return providers.Status{}, f.client.Strange(true, "no URL")
	}
	return providers.Status{State: providers.Succeeded, Outputs: []providers.Output{{URL: out.URL}}}, nil
}

func (flash) Poll(context.Context, providers.Ref) (providers.Status, error) {
	return providers.Status{}, &classify.Error{Class: classify.NotFound, Message: "there is nothing to poll"}
}

func TestGoodSynchronousAdapterPasses(t *testing.T) {
	t.Parallel()
	Run(t, Adapter{
		New:     func(baseURL string) providers.Provider { return flash{newLumen(baseURL, "")} },
		Replies: os.DirFS("testdata/flash"),
	})
}

// A suite is code too: what breaks a promise must fail the check that holds it.
func TestBrokenAdaptersFail(t *testing.T) {
	t.Parallel()
	faults := map[string][]string{ // the fault, and the checks that must see it
		"capabilities change":                {"Capabilities"},
		"forgets the id":                     {"Submit"},
		"takes any id":                       {"Submit"},
		"fails without a reason":             {"Poll"},
		"moderation is the caller's mistake": {"Refusal"},
		"money is rate":                      {"Replies"},
		"forgets the wait":                   {"Statuses"},
		"retries":                            {"OneCall"},
		"follows redirects":                  {"Redirect"},
		"ignores its context":                {"Cancellation"},
		"does not mark the paid call":        {"Unanswered", "Garbage", "Truncated", "SlowBody", "Statuses", "Cancellation", "DeadlinePassed"},
		"takes nothing for running":          {"Garbage"},
		"makes do with half":                 {"Truncated", "SlowBody"},
		"reads without end":                  {"TooLarge"},
		"takes the unknown for running":      {"Strange"},
		"is never sure":                      {"Unreachable"},
		"prints the key":                     {"KeepsSecret"},
		"prints the prompt":                  {"KeepsSecret"},
		"hides the key in the cause":         {"KeepsSecret"},
		"sends what is to be fetched":        {"Files"},
		"forgets the files":                  {"Files"},
		"cancels only what is there":         {"Cancel"},
		"takes silence for absence":          {"Find"},
		"downloads the start":                {"Download"},
		"is strict about fields":             {"NewFields"},
		"takes a gateway's word":             {"Verdicts", "Statuses"},
		"doubts each answer":                 {"Verdicts"},
		"knows one status only":              {"Verdicts"},
		"reads polls without end":            {"Limits"},
		"cancels without its context":        {"GivesUp"},
		"believes any webhook":               {"Webhook"},
		"believes old webhooks":              {"Webhook"},
		"believes webhooks about nothing":    {"Webhook"},
		"fetches keys each time":             {"Webhook"},
	}
	var seen []string
	for fault, names := range faults {
		for _, name := range names {
			seen = append(seen, name)
			t.Run(fault+"/"+name, func(t *testing.T) {
				t.Parallel()
				a := lumenAdapter(fault)
				a.patience = 500 * time.Millisecond
				if name == "TooLarge" || name == "Limits" {
					a.patience = time.Minute
				}
				require.True(t, fails(t, name, a), "%s must fail for an adapter that %s", name, fault)
			})
		}
	}
	for _, check := range checks {
		if check.name != "Concurrent" { // what it finds, the race detector finds
			require.Contains(t, seen, check.name, "no fault proves this check")
		}
	}
}

// recorder is a test that remembers that it failed and tells nobody.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) FailNow()              { r.failed = true; panic(giveUp{}) }

type giveUp struct{}

// fails runs one check and reports whether it found something.
func fails(t *testing.T, name string, a Adapter) bool {
	t.Helper()
	i := slices.IndexFunc(checks, func(c struct {
		name string
		run  func(testing.TB, Adapter)
	}) bool {
		return c.name == name
	})
	require.GreaterOrEqual(t, i, 0, name)
	r := &recorder{TB: t}
	func() {
		defer func() {
			if v := recover(); v != nil && v != (giveUp{}) {
				panic(v)
			}
		}()
		checks[i].run(r, a.withDefaults(t))
	}()
	return r.failed
}

func TestReadReply(t *testing.T) {
	t.Parallel()
	reply := MustReply(t, os.DirFS("testdata/lumen"), "submit-rate_limit.http")
	require.Equal(t, http.StatusTooManyRequests, reply.Status)
	require.Equal(t, "7", reply.Header.Get("Retry-After"))
	require.Contains(t, string(reply.Body), "too fast")
	_, err := ReadReply(os.DirFS("testdata/lumen"), "nothing.http")
	require.ErrorIs(t, err, os.ErrNotExist)
}
