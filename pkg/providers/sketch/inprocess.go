package sketch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/easel-jobs/easel/pkg/classify"
)

// inProcess carries calls to a Service in the same process: real HTTP over
// in-memory connections, so that what goes wrong looks as it does on a network.
// Each call has a connection of its own, and with it goroutines that end when
// it does; nothing runs between calls.
type inProcess struct {
	service   *Service
	server    *http.Server
	transport *http.Transport

	mu     sync.Mutex
	closed bool
	conns  sync.WaitGroup
}

func newInProcess(service *Service) *inProcess {
	t := &inProcess{service: service}
	// A handler that cuts its connection on purpose is nothing to log.
	t.server = &http.Server{Handler: service, ErrorLog: log.New(io.Discard, "", 0)}
	t.transport = &http.Transport{DialContext: t.dial, DisableKeepAlives: true, WriteBufferSize: 64 << 10}
	return t
}

func (t *inProcess) dial(context.Context, string, string) (net.Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, refused()
	}
	near, far := net.Pipe()
	listener := &oneConn{conn: far, done: make(chan struct{})}
	t.conns.Go(func() {
		// It ends with the one connection, and with an error that says so. A
		// server that was closed meanwhile has not even taken the connection.
		_ = t.server.Serve(listener)
		_ = far.Close()
	})
	return near, nil
}

// refused is the error of a dial that nobody answers.
func refused() error { return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED} }

// Close ends every connection and waits for it; the service is closed before.
func (t *inProcess) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	err := t.server.Close()
	t.conns.Wait()
	return err
}

// oneConn is a listener that accepts one connection and ends with it.
type oneConn struct {
	conn net.Conn
	once sync.Once
	done chan struct{}
	took bool
}

// Accept implements [net.Listener]. Only one goroutine calls it: Serve.
func (l *oneConn) Accept() (net.Conn, error) {
	if l.took {
		<-l.done
		return nil, net.ErrClosed
	}
	l.took = true
	return closingConn{l.conn, l}, nil
}

// Close implements [net.Listener].
func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements [net.Listener].
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }

// closingConn closes its listener with itself.
type closingConn struct {
	net.Conn
	listener *oneConn
}

// Close implements [net.Conn].
func (c closingConn) Close() error {
	return errors.Join(c.Conn.Close(), c.listener.Close())
}

// unreachableHeader asks for a connection that is refused: <times> <counter>.
// It never leaves the process.
const unreachableHeader = "Sketch-Unreachable"

// RoundTrip implements [http.RoundTripper].
func (t *inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if times, counter, found := strings.Cut(r.Header.Get(unreachableHeader), " "); found {
		n, err := strconv.Atoi(times)
		if err != nil {
			return nil, fmt.Errorf("sketch: %s header: %w", unreachableHeader, err)
		}
		if t.service.strikes(simulation{Times: n, Fail: classify.Network}, "fail", counter) {
			if r.Body != nil {
				r.Body.Close()
			}
			return nil, refused()
		}
	}
	return t.transport.RoundTrip(r)
}
