package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
)

// CodeTooLarge is the code of the error for a file that exceeds the limit.
const CodeTooLarge = "file_too_large"

// Limits bound one download. Zero fields are those of [DefaultLimits].
type Limits struct {
	Bytes  int64
	Header time.Duration // until the server has begun to answer, redirects included
	Idle   time.Duration // without a byte
	Total  time.Duration // from the call until the body is closed
}

// DefaultLimits are those of production.
func DefaultLimits() Limits {
	return Limits{Bytes: 2 << 30, Header: 30 * time.Second, Idle: 30 * time.Second, Total: 15 * time.Minute}
}

// Fetcher implements [orchestrator.Fetcher].
type Fetcher struct {
	client *http.Client
	limits Limits
}

var _ orchestrator.Fetcher = (*Fetcher)(nil)

// New returns a fetcher that calls what the guard allows.
func New(guard *Guard, limits Limits) *Fetcher {
	d := DefaultLimits()
	if limits.Bytes == 0 {
		limits.Bytes = d.Bytes
	}
	if limits.Header == 0 {
		limits.Header = d.Header
	}
	if limits.Idle == 0 {
		limits.Idle = d.Idle
	}
	if limits.Total == 0 {
		limits.Total = d.Total
	}
	return &Fetcher{client: guard.Client(), limits: limits}
}

// Close closes idle connections. Bodies that are still open stay readable.
func (f *Fetcher) Close() { f.client.CloseIdleConnections() }

// What ended a download that the server did not.
var (
	errHeader = &classify.Error{Class: classify.Timeout, Message: "server did not begin to answer in time"}
	errIdle   = &classify.Error{Class: classify.Timeout, Message: "download stalled"}
	errTotal  = &classify.Error{Class: classify.Timeout, Message: "download took too long"}
)

// Fetch implements [orchestrator.Fetcher].
func (f *Fetcher) Fetch(ctx context.Context, rawURL string) (providers.Body, error) {
	ctx, stop := context.WithTimeoutCause(ctx, f.limits.Total, errTotal)
	ctx, cancel := context.WithCancelCause(ctx)
	end := func() { cancel(nil); stop() }

	response, err := f.get(ctx, cancel, rawURL)
	if err != nil {
		err = classifyError(ctx, err)
		end()
		return nil, fmt.Errorf("fetch: %w", err)
	}
	if err := f.refuse(response); err != nil {
		_ = response.Body.Close()
		end()
		return nil, fmt.Errorf("fetch: %w", err)
	}
	idle := time.AfterFunc(f.limits.Idle, func() { cancel(errIdle) })
	idle.Stop()
	return &body{ctx: ctx, end: end, response: response, limits: f.limits, idle: idle}, nil
}

func (f *Fetcher) get(ctx context.Context, cancel context.CancelCauseFunc, rawURL string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		// The error would quote the URL.
		return nil, refuse("URL is not valid")
	}
	request.Header.Set("User-Agent", "Easel")
	request.Header.Set("Accept", "*/*")
	timer := time.AfterFunc(f.limits.Header, func() { cancel(errHeader) })
	defer timer.Stop()
	return f.client.Do(request)
}

// refuse looks at the answer before its body is read.
func (f *Fetcher) refuse(response *http.Response) error {
	switch {
	case response.StatusCode != http.StatusOK:
		return statusError(response)
	case response.ContentLength > f.limits.Bytes:
		return tooLarge(f.limits.Bytes)
	case response.Header.Get("Content-Encoding") != "" && response.Header.Get("Content-Encoding") != "identity":
		return &classify.Error{
			Class: classify.Server, Status: response.StatusCode, Code: "content_encoding",
			Message: "server compressed the file although it was not asked to",
		}
	}
	return nil
}

// statusError classifies an answer that is not the file. An expired link is
// answered with 401, 403, 404 or 410, depending on who signed it: to us that is
// one thing, since no credential of ours is involved.
func statusError(response *http.Response) error {
	status := response.StatusCode
	e := &classify.Error{Class: classify.FromStatus(status), Status: status, Message: "file could not be downloaded"}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		e.Class, e.Message = classify.NotFound, "file is not there, or its link has expired"
	}
	if status < http.StatusBadRequest {
		e.Class, e.Message = classify.Server, "server answered without the file"
	}
	e.RetryAfter, _ = classify.RetryAfter(response.Header, time.Now())
	return e
}

func tooLarge(limit int64) error {
	return &classify.Error{
		Class: classify.Validation, Code: CodeTooLarge, Message: fmt.Sprintf("file is larger than %d bytes", limit),
	}
}

// classifyError says what ended a call. Neither the URL nor the server's words
// become part of it.
func classifyError(ctx context.Context, err error) error {
	var around *url.Error
	if errors.As(err, &around) {
		err = around.Err
	}
	cause := context.Cause(ctx)
	var ours *classify.Error
	if errors.As(err, &ours) || errors.As(cause, &ours) {
		own := *ours // those above are shared
		return &own
	}
	if cause != nil {
		if errors.Is(cause, context.Canceled) {
			return &classify.Error{Class: classify.Canceled, Message: "download was canceled", Cause: cause}
		}
		return &classify.Error{Class: classify.Timeout, Message: "download took too long", Cause: cause}
	}
	return &classify.Error{Class: classify.Network, Message: networkMessage(err), Cause: known(err)}
}

func networkMessage(err error) string {
	var (
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &dns):
		return "name of the server could not be resolved"
	case errors.As(err, &certificate):
		return "server's certificate is not trusted"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "connection ended before the file did"
	default:
		return "server could not be reached, or broke off"
	}
}

// known keeps the errors that never quote a URL.
func known(err error) error {
	var (
		operation   *net.OpError
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
	)
	switch {
	case errors.As(err, &operation):
		return operation
	case errors.As(err, &certificate):
		return certificate
	case errors.As(err, &authority):
		return authority
	case errors.As(err, &hostname):
		return hostname
	case errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	default:
		return nil
	}
}
