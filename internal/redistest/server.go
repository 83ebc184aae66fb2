// Package redistest runs a real Redis server for the length of a test: on a
// free loopback port, with a directory of its own, and with the accidents that
// a durable system must live through — kill -9, restart, a server that hangs.
//
// # What it refuses to know
//
// It speaks just enough of the protocol to see that the server answers. What a
// test does with the server, and with which client, is the test's business.
package redistest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for the server.
const patience = 20 * time.Second

// watched runs the server so that it dies with the test's process, also when
// that is killed and no cleanup runs: whoever holds the other end of file 3 and
// vanishes without a word takes the server along.
const watched = `(read -r goodbye <&3 || kill -9 $$) & exec "$@" 3<&-`

// Server is a redis-server (or valkey-server) under test.
type Server struct {
	t    testing.TB
	bin  string
	dir  string
	port int
	args []string
	tls  *encryption // nil: none
	// config is the file of a sentinel, empty for a server.
	config string

	process *os.Process
	exited  chan struct{} // closed when the process has ended
	tie     *os.File      // the writing end of file 3 of [watched]
}

// An Option changes how a [Server] is started.
type Option func(*Server)

// AOF turns the append-only file on, with appendfsync at "always", "everysec"
// or "no". Without it a killed server forgets everything.
func AOF(fsync string) Option {
	return Args("--appendonly", "yes", "--appendfsync", fsync)
}

// Args adds arguments to the server's command line.
func Args(args ...string) Option {
	return func(s *Server) { s.args = append(s.args, args...) }
}

// Start runs a server until the test ends. A machine without redis-server and
// valkey-server fails the test: a suite that skips what it is about proves
// nothing.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir()}
	for _, opt := range opts {
		opt(s)
	}
	var err error
	if s.bin == "" {
		if s.bin, err = find(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.Kill)
	// Between choosing a free port and the server's taking it another process
	// may be faster.
	for range 5 {
		if s.port, err = freePort(); err != nil {
			t.Fatal(err)
		}
		if s.tls != nil {
			if err = s.tls.prepare(s.dir); err != nil {
				t.Fatal(err)
			}
		}
		if err = s.run(); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

// Addr is the server's host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is the server's address as a redis:// URL.
func (s *Server) URL() string { return "redis://" + s.Addr() + "/0" }

// Dir is where the server keeps its files.
func (s *Server) Dir() string { return s.dir }

// Kill ends the server as a power cut would, without warning, and waits until
// it is gone. Killing a server that does not run does nothing.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop asks the server to shut down in order, and waits until it has.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Restart starts a server that was killed or stopped again: same port, same
// directory. It returns when the server answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.run(); err != nil {
		s.t.Fatal(err)
	}
}

// Pause makes the server hang: connections stay open and nothing is answered.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on, with what it was sent meanwhile.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.process.Signal(sig); err != nil {
		s.t.Fatalf("signal redis: %v", err)
	}
}

func (s *Server) run() error {
	hold, tie, err := os.Pipe()
	if err != nil {
		return err
	}
	defer hold.Close()
	log, err := os.OpenFile(filepath.Join(s.dir, "redis.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		tie.Close()
		return err
	}
	defer log.Close()

	args := append([]string{"-c", watched, "sh", s.bin}, s.commandLine()...)
	cmd := exec.Command("/bin/sh", args...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{hold}
	if err := cmd.Start(); err != nil {
		tie.Close()
		return err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how a killed server ended is of no interest
	}()
	s.process, s.exited, s.tie = cmd.Process, exited, tie

	if err := s.awaitAnswer(); err != nil {
		s.Kill()
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("start redis: %w\n%s", err, text)
	}
	return nil
}

// commandLine is what the program is started with.
func (s *Server) commandLine() []string {
	port := []string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir}
	if s.config != "" {
		return append(append([]string{s.config}, port...), "--sentinel")
	}
	return append(append(append(port, "--save", ""), s.args...), s.tls.args()...)
}

// end signals the process and waits for its end. The watcher is told goodbye
// only after that, so that it never signals a process id that was given away.
func (s *Server) end(sig os.Signal) {
	if s.process == nil {
		return
	}
	_ = s.process.Signal(syscall.SIGCONT) // a paused server would not hear SIGTERM
	_ = s.process.Signal(sig)             // it may have ended by itself
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.t.Errorf("redis did not end within %s of %v", patience, sig)
	}
	_, _ = s.tie.WriteString("goodbye\n")
	_ = s.tie.Close()
	s.process = nil
}

// awaitAnswer returns when the server answers PING with PONG: it also refuses
// commands while it loads its append-only file.
func (s *Server) awaitAnswer() error {
	deadline := time.Now().Add(patience)
	for {
		err := s.ping()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
		select {
		case <-s.exited:
			return fmt.Errorf("redis ended at once: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *Server) ping() error {
	conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	// The answer names the process, so that another server that has taken the
	// port meanwhile is not mistaken for ours.
	if _, err := conn.Write([]byte("PING\r\nINFO server\r\n")); err != nil {
		return err
	}
	lines := bufio.NewScanner(conn)
	for first := true; lines.Scan(); first = false {
		line := lines.Text()
		if first && line != "+PONG" {
			return fmt.Errorf("redis answered %q", line)
		}
		if pid, ok := strings.CutPrefix(line, "process_id:"); ok {
			if pid != strconv.Itoa(s.process.Pid) {
				return fmt.Errorf("port %d belongs to process %s", s.port, pid)
			}
			return nil
		}
	}
	return fmt.Errorf("redis did not tell its process id: %w", lines.Err())
}

func find() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if bin, err := exec.LookPath(name); err == nil {
			return bin, nil
		}
	}
	return "", fmt.Errorf("this test needs redis-server or valkey-server on the PATH")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
