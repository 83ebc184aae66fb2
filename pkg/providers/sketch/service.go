package sketch

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
)

// The modes of a [Service]: when it answers a submission.
const (
	ModeAuto  = ""      // with an id; with the result for sketch-noop
	ModeSync  = "sync"  // with the result
	ModeAsync = "async" // with an id
)

// ServiceConfig says how a [Service] behaves. The zero value works.
type ServiceConfig struct {
	Dir           string // where the ledger lies; empty: in memory
	Mode          string
	MinDuration   time.Duration // 0: by feature
	MaxDuration   time.Duration // 0: by feature
	NoLookup      bool          // refuse to list by client id
	AllowSimulate bool
	APIKey        string // what callers must bear; empty: nothing
	WebhookSecret string // empty: made once per Dir
	Now           func() time.Time
}

// Service is a generation API as a provider would host it, with a ledger of
// what it accepted. It sells without looking: a client id that comes twice is
// accepted twice, and counted as a duplicate.
type Service struct {
	config ServiceConfig
	ledger ledger
	mux    *http.ServeMux
	poster *http.Client

	// easels bounds how many outputs are drawn at a time.
	easels chan struct{}

	closing context.Context
	close   context.CancelFunc

	mu      sync.Mutex
	closed  bool
	work    sync.WaitGroup // handlers, and webhooks that are due
	timers  map[*time.Timer]struct{}
	calls   int // submissions being answered
	maxCall int
}

// NewService returns a service. Close it.
func NewService(config ServiceConfig) (*Service, error) {
	s := &Service{config: config, ledger: newMemoryLedger(), timers: map[*time.Timer]struct{}{}}
	if s.config.Now == nil {
		s.config.Now = time.Now
	}
	switch config.Mode {
	case ModeAuto, ModeSync, ModeAsync:
	default:
		return nil, errors.New("mode: must be sync or async")
	}
	if config.MinDuration < 0 || config.MaxDuration < 0 || config.MaxDuration > 0 && config.MinDuration > config.MaxDuration {
		return nil, errors.New("min_duration_ms: must be from 0 to max_duration_ms")
	}
	if config.Dir != "" {
		disk, err := newDiskLedger(config.Dir)
		if err != nil {
			return nil, err
		}
		s.ledger = disk
	}
	if err := s.chooseSecret(); err != nil {
		return nil, err
	}
	s.easels = make(chan struct{}, runtime.GOMAXPROCS(0))
	s.closing, s.close = context.WithCancel(context.Background())
	s.poster = newPoster()
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("POST /v1/generations", s.submit)
	s.mux.HandleFunc("GET /v1/generations", s.list)
	s.mux.HandleFunc("GET /v1/generations/{id}", s.poll)
	s.mux.HandleFunc("POST /v1/generations/{id}/cancel", s.cancel)
	s.mux.HandleFunc("GET /v1/files/{token}", s.download)
	s.mux.HandleFunc("GET /v1/stats", s.stats)
	return s, nil
}

func (s *Service) chooseSecret() (err error) {
	switch {
	case s.config.WebhookSecret != "":
	case s.config.Dir != "":
		s.config.WebhookSecret, err = secretOf(s.config.Dir)
	default:
		s.config.WebhookSecret = rand.Text()
	}
	return err
}

// Close ends what hangs, drops webhooks that are not due yet, and waits for
// everything that runs.
func (s *Service) Close() error {
	s.mu.Lock()
	s.closed = true
	for timer := range s.timers {
		if timer.Stop() {
			s.work.Done()
		}
	}
	clear(s.timers)
	s.mu.Unlock()
	s.close()
	s.work.Wait()
	s.poster.CloseIdleConnections()
	return nil
}

// begin counts something that Close must wait for.
func (s *Service) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Add(1)
	return true
}

// ServeHTTP implements [http.Handler].
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		answerFault(w, faults[classify.Overloaded], 0)
		return
	}
	defer s.work.Done()
	if !s.admitted(r) {
		answerFault(w, faults[classify.Authentication], 0)
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *Service) admitted(r *http.Request) bool {
	if s.config.APIKey == "" {
		return true
	}
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return subtle.ConstantTimeCompare([]byte(key), []byte(s.config.APIKey)) == 1
}

// submit accepts a generation, unless it is told to misbehave.
func (s *Service) submit(w http.ResponseWriter, r *http.Request) {
	s.enter()
	defer s.leave()
	var in submission
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSubmission)).Decode(&in); err != nil {
		answerError(w, invalid("", "the body is not a submission"), 0)
		return
	}
	o, err := parseOrder(in.Feature, in.Model, in.Input, s.config.AllowSimulate)
	if err == nil {
		err = checkFiles(o, in.Files)
	}
	if err != nil {
		answerError(w, err, 0)
		return
	}
	sim := o.simulate
	if sim.Fail != "" && sim.Stage == stageSubmit && s.strikes(sim, "fail", in.counter()) {
		s.fail(w, sim)
		return
	}
	e, err := s.accept(in, o)
	if err != nil {
		answerFault(w, faults[classify.Server], 0)
		return
	}
	if sim.Stage == stageSubmit && s.misbehaves(w, r, sim, in.counter()) {
		return
	}
	if s.synchronous(o) {
		s.answerResult(w, r, e, o)
		return
	}
	answer(w, http.StatusAccepted, s.report(e, o))
}

func (s *Service) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.maxCall = max(s.maxCall, s.calls)
}

func (s *Service) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
}

// checkFiles sees to it that the picture that is to be worked on is one.
func checkFiles(o order, files []submittedFile) error {
	if !needsImage(o.feature) {
		return nil
	}
	for _, f := range files {
		if f.Pointer == "/image" {
			_, err := sourceSize(f.Data, o)
			return err
		}
	}
	return invalid("/input_data/image", "is required")
}

// accept writes the generation into the ledger.
func (s *Service) accept(in submission, o order) (entry, error) {
	now := s.config.Now().UTC()
	e := entry{
		ID: newID(in.ClientID), ClientID: in.ClientID, Reference: in.Reference, Feature: o.feature, Model: o.model,
		Input: in.Input, WebhookURL: in.WebhookURL, AcceptedAt: now,
	}
	for _, f := range in.Files {
		e.Files = append(e.Files, entryFile(f))
	}
	length := s.length(o, e.ID)
	e.StartsAt = now.Add(length / 10)
	if !o.simulate.Never {
		e.DoneAt = now.Add(length)
	}
	if o.simulate.Stage == stageGeneration && s.strikes(o.simulate, "doom", in.counter()) {
		e.Doom = o.simulate.Fail
	}
	if err := s.ledger.Add(e); err != nil {
		return entry{}, err
	}
	s.announce(e, o)
	return e, nil
}

// length draws how long a generation takes: log-normal between the shortest and
// the longest, with the median at their geometric mean. The id decides, so that
// the same generation always takes as long.
func (s *Service) length(o order, id string) time.Duration {
	if d := o.simulate.Duration; d != nil {
		return d.duration()
	}
	shortest, longest := s.bounds(o)
	if longest <= shortest {
		return shortest
	}
	low, high := math.Log(max(shortest.Seconds(), 0.001)), math.Log(longest.Seconds())
	seed, _ := strconv.ParseUint(id[len(id)-16:], 16, 64) // the random part of every id
	source := mathrand.New(mathrand.NewPCG(seed, 1))
	drawn := (low+high)/2 + source.NormFloat64()*(high-low)/5
	return time.Duration(math.Exp(min(max(drawn, low), high)) * float64(time.Second))
}

func (s *Service) bounds(o order) (shortest, longest time.Duration) {
	shortest, longest = s.config.MinDuration, s.config.MaxDuration
	switch offer := offerOf(o.feature); {
	case shortest > 0 || longest > 0:
		longest = max(longest, shortest)
	case o.model == ModelNoop:
	default:
		shortest, longest = offer.shortest, offer.longest
	}
	return shortest, longest
}

// synchronous says whether a submission is answered with its result.
func (s *Service) synchronous(o order) bool {
	switch {
	case o.simulate.Synchronous != nil:
		return *o.simulate.Synchronous
	case s.config.Mode != ModeAuto:
		return s.config.Mode == ModeSync
	default:
		return o.model == ModelNoop && s.config.MinDuration == 0 && s.config.MaxDuration == 0 && o.simulate.Duration == nil && !o.simulate.Never
	}
}

// answerResult waits for the end of the generation and answers with its bytes.
func (s *Service) answerResult(w http.ResponseWriter, r *http.Request, e entry, o order) {
	if e.DoneAt.IsZero() {
		s.pause(r.Context(), maxSimulatedDelay.duration())
	} else if !s.pause(r.Context(), e.DoneAt.Sub(s.config.Now())) {
		return
	}
	// It may have been canceled meanwhile.
	if fresh, err := s.ledger.Get(e.ID); err == nil {
		e = fresh
	}
	report := s.report(e, o)
	for i := range report.Outputs {
		data, err := s.draw(r.Context(), e, o, i)
		if err != nil {
			answerFault(w, faults[classify.Server], 0)
			return
		}
		report.Outputs[i].Data = data
	}
	answer(w, http.StatusOK, report)
}

// pause waits, and reports whether it was allowed to wait to the end.
func (s *Service) pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.closing.Done():
	}
	return false
}

// poll reports on one generation.
func (s *Service) poll(w http.ResponseWriter, r *http.Request) {
	e, o, ok := s.find(w, r.PathValue("id"))
	if !ok {
		return
	}
	sim := o.simulate
	if sim.PollBlips > 0 && s.blips(w, e.ID, sim.PollBlips) {
		return
	}
	if sim.Stage == stagePoll {
		if sim.Fail != "" && s.strikes(sim, "poll", e.counter()) {
			s.fail(w, sim)
			return
		}
		if s.misbehaves(w, r, sim, e.counter()+"/poll") {
			return
		}
	}
	answer(w, http.StatusOK, s.report(e, o))
}

// find loads a generation, or answers that there is none.
func (s *Service) find(w http.ResponseWriter, id string) (entry, order, bool) {
	e, err := s.ledger.Get(id)
	if errors.Is(err, errNoEntry) {
		answerFault(w, faults[classify.NotFound], 0)
		return entry{}, order{}, false
	}
	if err != nil {
		answerFault(w, faults[classify.Server], 0)
		return entry{}, order{}, false
	}
	o, err := e.order()
	if err != nil {
		answerFault(w, faults[classify.Server], 0)
		return entry{}, order{}, false
	}
	return e, o, true
}

// order reads the input again that was checked when it was accepted.
func (e entry) order() (order, error) {
	return parseOrder(e.Feature, e.Model, e.Input, true)
}

// cancel ends a generation that has not ended yet.
func (s *Service) cancel(w http.ResponseWriter, r *http.Request) {
	e, o, ok := s.find(w, r.PathValue("id"))
	if !ok {
		return
	}
	now := s.config.Now()
	if !e.over(now) {
		if err := s.ledger.Cancel(e.ID, now); err != nil {
			answerFault(w, faults[classify.Server], 0)
			return
		}
		e.CanceledAt = now
	}
	answer(w, http.StatusOK, s.report(e, o))
}

// list is the look-up by client id.
func (s *Service) list(w http.ResponseWriter, r *http.Request) {
	clientID := r.URL.Query().Get("client_id")
	switch {
	case s.config.NoLookup:
		answerFault(w, fault{http.StatusForbidden, "lookup_disabled", "generations are not listed here"}, 0)
		return
	case clientID == "":
		answerError(w, invalid("", "client_id is required"), 0)
		return
	}
	entries, err := s.ledger.ByClient(clientID)
	if err != nil {
		answerFault(w, faults[classify.Server], 0)
		return
	}
	listing := listing{Generations: []report{}}
	for _, e := range entries {
		o, err := e.order()
		if err != nil {
			answerFault(w, faults[classify.Server], 0)
			return
		}
		listing.Generations = append(listing.Generations, s.report(e, o))
	}
	answer(w, http.StatusOK, listing)
}

// download draws an output.
func (s *Service) download(w http.ResponseWriter, r *http.Request) {
	id, index, found := strings.Cut(r.PathValue("token"), "-")
	n, err := strconv.Atoi(index)
	if !found || err != nil {
		answerFault(w, faults[classify.NotFound], 0)
		return
	}
	e, o, ok := s.find(w, id)
	if !ok {
		return
	}
	report := s.report(e, o)
	if n < 0 || n >= len(report.Outputs) {
		answerFault(w, faults[classify.NotFound], 0)
		return
	}
	if sim := o.simulate; sim.Stage == stageDownload {
		if sim.Fail != "" && s.strikes(sim, "download", e.counter()) {
			s.fail(w, sim)
			return
		}
		if s.misbehaves(w, r, sim, e.counter()+"/download") {
			return
		}
	}
	data, err := s.draw(r.Context(), e, o, n)
	if err != nil {
		answerFault(w, faults[classify.Server], 0)
		return
	}
	w.Header().Set("Content-Type", report.Outputs[n].MediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // nobody to tell: the caller has gone
}

// draw makes the bytes of an output, when an easel is free.
func (s *Service) draw(ctx context.Context, e entry, o order, n int) ([]byte, error) {
	if o.model == ModelNoop {
		return onePixel, nil
	}
	select {
	case s.easels <- struct{}{}:
		defer func() { <-s.easels }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	data, err := o.draw(e.image(), n)
	if err != nil {
		return nil, fmt.Errorf("draw %s: %w", e.ID, err)
	}
	return data, nil
}
