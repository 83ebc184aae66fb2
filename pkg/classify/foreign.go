package classify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// foreign classifies an error that is not ours. What happened before a
// connection stood comes first: a dial that timed out is a time-out, too, but
// what matters is that nothing was sent.
func foreign(err error) Class {
	switch {
	case unsent(err):
		return Network
	case errors.Is(err, context.Canceled):
		return Canceled
	case timedOut(err):
		return Timeout
	case broken(err):
		return Network
	}
	return fromText(err.Error())
}

// unsent reports whether the error arose before a request could be written:
// name resolution, connection or TLS handshake failed.
func unsent(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) || errors.Is(err, syscall.ECONNREFUSED) {
		return true
	}
	var op *net.OpError
	if errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") {
		return true
	}
	if strings.Contains(err.Error(), "TLS handshake timeout") { // its type is not exported
		return true
	}
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
	)
	return errors.As(err, &verification) || errors.As(err, &record) ||
		errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &invalid)
}

func timedOut(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var timeout net.Error // *url.Error is one, too
	return errors.As(err, &timeout) && timeout.Timeout()
}

// broken reports whether a connection ended before its time.
func broken(err error) bool {
	for _, target := range []error{
		io.ErrUnexpectedEOF, io.EOF, net.ErrClosed,
		syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ENETUNREACH, syscall.EHOSTUNREACH,
		syscall.ENETDOWN, syscall.EHOSTDOWN,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	var op *net.OpError
	var alert tls.AlertError
	return errors.As(err, &op) || errors.As(err, &alert)
}

// patterns are the last resort, for errors that lost their type on the way.
var patterns = []struct {
	text  string
	class Class
}{
	{"connection refused", Network},
	{"no such host", Network},
	{"connection reset", Network},
	{"broken pipe", Network},
	{"unexpected eof", Network},
	{"deadline exceeded", Timeout},
	{"i/o timeout", Timeout},
	{"too many requests", RateLimit},
}

func fromText(text string) Class {
	text = strings.ToLower(text)
	for _, p := range patterns {
		if strings.Contains(text, p.text) {
			return p.class
		}
	}
	return Unknown
}
