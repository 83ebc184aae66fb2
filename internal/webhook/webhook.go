package webhook

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/orchestrator"
)

const (
	// timeout is what the specification recommends at most for a receiver.
	timeout = 15 * time.Second
	// maxAnswer is how much of an answer is read, so that the connection can
	// be used again. Nothing of it is kept: it is the receiver's own text.
	maxAnswer = 4 << 10
)

// Config says how webhooks are sent.
type Config struct {
	// Client makes the call. Callers choose the URLs, so it must refuse the
	// addresses that they have no business with. Redirects are not followed,
	// whatever it says.
	Client *http.Client
	// Secrets are the tenants' own.
	Secrets []Secret
	// ServerSecrets sign for tenants without a secret of their own, by
	// derivation (see [Notifier.Secrets]): a webhook is never sent unsigned.
	// The current one comes first.
	ServerSecrets [][]byte
	// UserAgent is "Easel-Webhooks" when empty.
	UserAgent string
}

// Notifier implements [orchestrator.Notifier].
type Notifier struct {
	client    *http.Client
	secrets   *secrets
	userAgent string
}

var _ orchestrator.Notifier = (*Notifier)(nil)

// New returns a notifier, or everything that is wrong with the configuration.
func New(cfg Config) (*Notifier, error) {
	if cfg.Client == nil {
		return nil, errors.New("webhook: there is no HTTP client")
	}
	keys, err := newSecrets(cfg.Secrets, cfg.ServerSecrets)
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	client := *cfg.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	n := &Notifier{client: &client, secrets: keys, userAgent: cfg.UserAgent}
	if n.userAgent == "" {
		n.userAgent = "Easel-Webhooks"
	}
	return n, nil
}

// Secrets returns the secrets that sign for a tenant, each as "whsec_" and
// base64, so that an operator can hand them to the receiver.
func (n *Notifier) Secrets(tenant string) []string {
	keys := n.secrets.of(tenant)
	values := make([]string, len(keys))
	for i, key := range keys {
		values[i] = secretPrefix + base64.StdEncoding.EncodeToString(key)
	}
	return values
}

// message is what is signed.
type message struct {
	id   string
	at   time.Time
	body []byte
}

// Deliver implements [orchestrator.Notifier]. The id stays the same over the
// attempts at one event, so that receivers can tell a repetition; at is the time
// of this attempt, since receivers refuse what was signed long ago.
//
// The error is nil when the receiver answered 2xx. Otherwise it is classified,
// and the receipt says what the receiver answered.
func (n *Notifier) Deliver(ctx context.Context, tenant, url, id string, at time.Time, body []byte) (orchestrator.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := n.request(ctx, tenant, url, message{id, at, body})
	if err != nil {
		return orchestrator.Receipt{}, err
	}
	response, err := n.client.Do(request)
	if err != nil {
		return orchestrator.Receipt{}, unreachable(err)
	}
	defer response.Body.Close()
	// What cannot be read does not matter: the status has already come.
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer)
	wait, _ := classify.RetryAfter(response.Header, at)
	receipt := orchestrator.Receipt{Status: response.StatusCode, RetryAfter: wait}
	return receipt, refused(receipt)
}

func (n *Notifier) request(ctx context.Context, tenant, url string, m message) (*http.Request, error) {
	signature, err := sign(n.secrets.of(tenant), m)
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(m.body))
	if err != nil {
		// The error would quote the URL, which may hold the receiver's secret.
		return nil, &classify.Error{Class: classify.Validation, Code: "url_invalid", Message: "webhook URL is not valid"}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", n.userAgent)
	request.Header.Set(standardwebhooks.HeaderWebhookID, m.id)
	request.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(m.at.Unix(), 10))
	request.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return request, nil
}

// unreachable classifies a call that got no answer. The URL that http.Client
// puts around its errors is taken off.
func unreachable(err error) error {
	var around *url.Error
	if errors.As(err, &around) {
		err = around.Err
	}
	var known *classify.Error
	switch {
	case errors.As(err, &known): // the client's guard, which says why
		return known
	case errors.Is(err, context.Canceled):
		return &classify.Error{Class: classify.Canceled, Message: "delivery was canceled", Cause: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &classify.Error{Class: classify.Timeout, Message: "receiver did not answer in time", Cause: err}
	default:
		return &classify.Error{Class: classify.Network, Message: "receiver could not be reached", Cause: err}
	}
}

// refused is nil for 2xx.
func refused(r orchestrator.Receipt) error {
	if r.Status >= 200 && r.Status < 300 {
		return nil
	}
	e := &classify.Error{
		Class: classify.FromStatus(r.Status), Status: r.Status, RetryAfter: r.RetryAfter,
		Message: "receiver refused the webhook",
	}
	if r.Status >= 300 && r.Status < 400 {
		e.Class, e.Message = classify.Validation, "receiver redirects, and webhooks do not follow"
	}
	return e
}
