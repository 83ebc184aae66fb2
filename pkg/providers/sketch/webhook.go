package sketch

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// SignatureHeader carries the signature of a webhook: t=<unix seconds>,v1=<hex
// HMAC-SHA256 of "<t>.<body>">.
const SignatureHeader = "Sketch-Signature"

// signatureAge is how old a signature may be, and how far ahead.
const signatureAge = 5 * time.Minute

// notice is the body of a webhook.
type notice struct {
	EventID  string `json:"event_id"`
	ID       string `json:"id"`
	ClientID string `json:"client_id,omitempty"`
	Status   string `json:"status"`
}

// announce plans the webhooks of a generation.
func (s *Service) announce(e entry, o order) {
	mode := o.simulate.Webhook
	if e.WebhookURL == "" || mode == "none" {
		return
	}
	n := notice{EventID: "evt_" + rand.Text(), ID: e.ID, ClientID: e.ClientID, Status: statusSucceeded}
	if e.Doom != "" {
		n.Status = statusFailed
	}
	wait := e.DoneAt.Sub(s.config.Now())
	switch mode {
	case "early":
		s.postAfter(0, e.WebhookURL, n, s.config.WebhookSecret)
	case "forged":
		s.postAfter(0, e.WebhookURL, n, "not the secret")
		return
	}
	if e.DoneAt.IsZero() {
		return
	}
	if mode == "late" {
		wait += o.simulate.LateBy.duration()
	}
	s.postAfter(wait, e.WebhookURL, n, s.config.WebhookSecret)
	if mode == "twice" {
		s.postAfter(wait, e.WebhookURL, n, s.config.WebhookSecret)
	}
}

// postAfter posts once, after a while. Nobody repeats it: who needs to know
// polls. A generation that was canceled meanwhile is reported as such.
func (s *Service) postAfter(wait time.Duration, url string, n notice, secret string) {
	if !s.begin() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var timer *time.Timer
	timer = time.AfterFunc(max(wait, 0), func() {
		defer s.work.Done()
		s.mu.Lock()
		delete(s.timers, timer)
		s.mu.Unlock()
		if e, err := s.ledger.Get(n.ID); err == nil && !e.CanceledAt.IsZero() {
			n.Status = statusCanceled
		}
		s.post(url, n, secret)
	})
	if s.closed && timer.Stop() {
		s.work.Done()
		return
	}
	s.timers[timer] = struct{}{}
}

func (s *Service) post(url string, n notice, secret string) {
	body, err := json.Marshal(n)
	if err != nil {
		return // a notice of plain texts always encodes
	}
	ctx, cancel := context.WithTimeout(s.closing, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return // the caller's URL is no URL; it will find out by polling
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(SignatureHeader, sign(secret, s.config.Now(), body))
	resp, err := s.poster.Do(req)
	if err != nil {
		return // as above: a webhook is a hint, and hints get lost
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be kept
}

// newPoster returns the client that posts webhooks. It follows no redirects and
// uses no proxy.
func newPoster() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: 10 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func sign(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(digest(secret, t, body))
}

func digest(secret, t string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// verify checks a signature.
func verify(secret, signature string, body []byte, now time.Time) error {
	t, mac, found := strings.Cut(strings.TrimPrefix(signature, "t="), ",v1=")
	seconds, err := strconv.ParseInt(t, 10, 64)
	if !found || err != nil {
		return errors.New("webhook has no signature")
	}
	given, err := hex.DecodeString(mac)
	if err != nil || !hmac.Equal(given, digest(secret, t, body)) {
		return errors.New("webhook signature does not match")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > signatureAge || age < -signatureAge {
		return errors.New("webhook signature is too old")
	}
	return nil
}
