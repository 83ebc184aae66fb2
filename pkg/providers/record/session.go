package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Session takes an adapter through its calls and writes what came back.
type Session struct {
	// Open makes the adapter with a key, over a transport.
	Open func(recorder *Recorder, key providers.Secret) (providers.Provider, error)
	// Key is the real one; it is not written anywhere.
	Key providers.Secret
	// BaseURL is where the provider is, to be written as {{BaseURL}}. Empty:
	// where the submission went, up to the first of its path.
	BaseURL string
	Request providers.Request
	// Refused is a prompt that the provider's moderation refuses. Empty: it is
	// not tried.
	Refused string
	// Cancel has a second generation started and canceled.
	Cancel bool
	// Faults has calls made that cost nothing: with a wrong key, and for a
	// model that does not exist.
	Faults      bool
	KeepHeaders []string
	// Dir is where the files go. What is there under the same name is replaced.
	Dir string
	// Patience bounds the whole.
	Patience time.Duration
	// Told hears of each file that was written.
	Told func(name string)

	written *int
	now     func() time.Time
	sleep   func(ctx context.Context, d time.Duration) error
}

// wrongKey is as long as keys are, and nobody's.
const wrongKey = "sk-this-key-is-not-one-0000000000000000"

// noModel is a model that no provider has.
const noModel = "no-such-model-as-this"

const defaultPatience = 15 * time.Minute

// Run makes the calls. What was recorded before something went wrong stays
// written.
func (s Session) Run(ctx context.Context) error {
	s = s.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	recorder := NewRecorder(nil)
	provider, err := s.Open(recorder, s.Key)
	if err != nil {
		return err
	}
	steps := []func(context.Context, *Recorder, providers.Provider) error{s.journey}
	if s.Refused != "" {
		steps = append(steps, s.refused)
	}
	if s.Cancel {
		steps = append(steps, s.canceled)
	}
	if s.Faults {
		steps = append(steps, s.noModel, s.wrongKey)
	}
	for _, step := range steps {
		if err := step(ctx, recorder, provider); err != nil {
			return err
		}
	}
	if *s.written == 0 {
		return errors.New("nothing was recorded: the adapter does not call over the transport that it is given")
	}
	return nil
}

func (s Session) withDefaults() Session {
	if s.Patience == 0 {
		s.Patience = defaultPatience
	}
	told, written := s.Told, new(int)
	s.Told = func(name string) {
		*written++
		if told != nil {
			told(name)
		}
	}
	s.written = written
	if s.now == nil {
		s.now = time.Now
	}
	if s.sleep == nil {
		s.sleep = sleep
	}
	return s
}

// journey is one generation from its submission to its output.
func (s Session) journey(ctx context.Context, recorder *Recorder, provider providers.Provider) error {
	sent := s.now()
	status, err := provider.Submit(ctx, s.Request)
	if err := s.keep(recorder, nameOf("submit", err), s.Request); err != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	if finder, ok := provider.(providers.Finder); ok && !status.State.Done() {
		if err := s.find(ctx, recorder, finder, sent); err != nil {
			return err
		}
	}
	if !status.State.Done() {
		if status, err = s.poll(ctx, recorder, provider, status, sent); err != nil {
			return err
		}
	}
	if downloader, ok := provider.(providers.Downloader); ok && len(status.Outputs) > 0 && status.Outputs[0].URL != "" {
		return s.download(ctx, recorder, downloader, status, sent)
	}
	return nil
}

// find waits as long as the provider may take to list the submission.
func (s Session) find(ctx context.Context, recorder *Recorder, finder providers.Finder, sent time.Time) error {
	if err := s.sleep(ctx, finder.ListLag()); err != nil {
		return err
	}
	if _, err := finder.Find(ctx, providers.Lost{Request: s.Request, SentAt: sent}); err != nil {
		recorder.take()
		return nil //nolint:nilerr // not found: what it answered is no found.http, and the rest can be recorded
	}
	return s.keep(recorder, "found", s.Request)
}

// poll asks until the generation has ended. The last answer before that is the
// one that says most of how it runs.
func (s Session) poll(ctx context.Context, recorder *Recorder, provider providers.Provider, last providers.Status, sent time.Time) (providers.Status, error) {
	policy := provider.Capabilities().Poll
	ref := s.ref(last, sent)
	wait := max(policy.First, policy.Interval, 50*time.Millisecond)
	for {
		if err := s.sleep(ctx, max(wait, last.PollAfter)); err != nil {
			return last, err
		}
		status, err := provider.Poll(ctx, ref)
		if err != nil {
			if err := s.keep(recorder, nameOf("poll", err), s.Request); err != nil {
				return last, err
			}
			if !classify.IsTransient(err) {
				return last, fmt.Errorf("poll: %w", err)
			}
			continue
		}
		name := "running"
		if status.State.Done() {
			name = string(status.State)
		}
		if err := s.keep(recorder, name, s.Request); err != nil {
			return last, err
		}
		if status.State.Done() {
			return status, nil
		}
		last, wait = status, max(policy.Interval, 50*time.Millisecond)
	}
}

func (s Session) ref(status providers.Status, sent time.Time) providers.Ref {
	return providers.Ref{
		RemoteID: status.RemoteID, PollURL: status.PollURL, CancelURL: status.CancelURL, Feature: s.Request.Feature,
		Model: s.Request.Model, ClientID: s.Request.ClientID, SentAt: sent,
	}
}

func (s Session) download(ctx context.Context, recorder *Recorder, downloader providers.Downloader, status providers.Status, sent time.Time) error {
	body, err := downloader.Download(ctx, s.ref(status, sent), status.Outputs[0])
	if err != nil {
		recorder.take()
		return fmt.Errorf("download: %w", err)
	}
	_, err = io.Copy(io.Discard, body)
	if err := errors.Join(err, body.Close()); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	return s.keep(recorder, "download", s.Request)
}

// refused asks for what moderation does not let pass: at once, or after a while.
func (s Session) refused(ctx context.Context, recorder *Recorder, provider providers.Provider) error {
	request := s.with("prompt", s.Refused)
	sent := s.now()
	status, err := provider.Submit(ctx, request)
	for err == nil && !status.State.Done() {
		recorder.take()
		if err := s.sleep(ctx, max(provider.Capabilities().Poll.Interval, 50*time.Millisecond)); err != nil {
			return err
		}
		status, err = provider.Poll(ctx, s.ref(status, sent))
	}
	class := classify.Classify(err).Class
	if err == nil && status.Failure != nil {
		class = status.Failure.Class
	}
	if class != classify.ContentPolicy {
		recorder.take()
		return fmt.Errorf("the prompt that should be refused was not: %s", or(string(class), string(status.State)))
	}
	return s.keep(recorder, "refused", request)
}

func (s Session) canceled(ctx context.Context, recorder *Recorder, provider providers.Provider) error {
	canceler, ok := provider.(providers.Canceler)
	if !ok {
		return errors.New("the provider cannot cancel")
	}
	sent := s.now()
	status, err := provider.Submit(ctx, s.Request)
	recorder.take()
	if err != nil {
		return fmt.Errorf("submit what is to be canceled: %w", err)
	}
	if err := canceler.Cancel(ctx, s.ref(status, sent)); err != nil {
		recorder.take()
		return fmt.Errorf("cancel: %w", err)
	}
	return s.keep(recorder, "canceled", s.Request)
}

func (s Session) noModel(ctx context.Context, recorder *Recorder, provider providers.Provider) error {
	request := s.Request
	request.Model = noModel
	return s.fault(ctx, recorder, provider, request)
}

func (s Session) wrongKey(ctx context.Context, recorder *Recorder, _ providers.Provider) error {
	provider, err := s.Open(recorder, wrongKey)
	if err != nil {
		return err
	}
	return s.fault(ctx, recorder, provider, s.Request)
}

// fault makes a submission that has to be refused, and names the answer for the
// class that the adapter gives it.
func (s Session) fault(ctx context.Context, recorder *Recorder, provider providers.Provider, request providers.Request) error {
	_, err := provider.Submit(ctx, request)
	if err == nil {
		recorder.take()
		return errors.New("a submission that should be refused was accepted")
	}
	return s.keep(recorder, nameOf("submit", err), request)
}

func (s Session) with(key string, value any) providers.Request {
	request := s.Request
	request.Input = map[string]any{}
	for k, v := range s.Request.Input {
		request.Input[k] = v
	}
	request.Input[key] = value
	return request
}

// nameOf is what providertest calls the answer to a call.
func nameOf(call string, err error) string {
	if err == nil {
		return call
	}
	return call + "-" + string(classify.Classify(err).Class) + "-recorded"
}

// keep writes what the last call brought: the last of its answers under the
// name, those to the calls before it, if it made several, beside it.
func (s Session) keep(recorder *Recorder, name string, request providers.Request) error {
	exchanges, secrets := recorder.take()
	if len(exchanges) == 0 {
		return nil // it did not get as far as calling
	}
	scrubber := Scrubber{
		Secrets: append(append(secrets, s.Key.Reveal()), signatures(request.Files)...), Prompts: append(texts(request.Input), texts(s.Request.Input)...),
		BaseURL: or(s.BaseURL, origin(exchanges[len(exchanges)-1])), Around: s.now(), KeepHeaders: s.KeepHeaders,
	}
	scrubber.Secrets = slices.DeleteFunc(scrubber.Secrets, func(secret string) bool { return secret == "" })
	for i, x := range exchanges {
		file := name + ".http"
		if i < len(exchanges)-1 {
			file = fmt.Sprintf("%s.%d.http", strings.ReplaceAll(name, "-", "_"), i+1)
		}
		content, err := scrubber.File(x)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(s.Dir, file), content, 0o644); err != nil { //nolint:gosec // it is made to be committed
			return err
		}
		s.Told(file)
	}
	return nil
}

// signatures are what signs the URLs of files that the provider was to fetch:
// whoever has them has the files.
func signatures(files []providers.File) []string {
	var found []string
	for _, file := range files {
		address, err := url.Parse(file.URL)
		if err != nil {
			continue
		}
		for _, values := range address.Query() {
			for _, value := range values {
				if len(value) >= shortestSignature {
					found = append(found, value)
				}
			}
		}
	}
	return found
}

// shortestSignature keeps times and numbers from counting as signatures.
const shortestSignature = 20

func origin(x Exchange) string { return x.URL.Scheme + "://" + x.URL.Host }

// shortestPrompt keeps sizes and model names out of what counts as a prompt.
const shortestPrompt = 12

// texts are the texts of an input that are long enough to be somebody's words.
func texts(v any) []string {
	var found []string
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			found = append(found, texts(item)...)
		}
	case []any:
		for _, item := range v {
			found = append(found, texts(item)...)
		}
	case string:
		if len(v) >= shortestPrompt {
			found = append(found, v)
		}
	}
	return found
}

func or(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Request is a submission to record with.
func Request(feature tasks.Feature, model string, input map[string]any) providers.Request {
	return providers.Request{
		JobID: "job_01JD3XK8M5Q0R7Z4N9T2V6W8YB", ClientID: "job_01JD3XK8M5Q0R7Z4N9T2V6W8YB-1", Submission: 1,
		Feature: feature, Model: model, Input: input,
	}
}
