package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// endTimeout is how long the child may take to write its files and exit.
const endTimeout = 20 * time.Second

// child is a redis-server that this process started.
type child struct {
	program string
	dir     string
	address string
	version string

	process *os.Process
	ending  chan struct{} // closed when we want it to end
	exited  chan struct{} // closed when it has
}

// startChild starts the server on dir's data and returns when it answers.
func startChild(ctx context.Context, cfg Config, program, password string) (*child, error) {
	dir := cfg.redisDir()
	if err := stopStale(ctx, dir, cfg.Logger); err != nil {
		return nil, err
	}
	var err error
	// Between choosing a free port and the server's taking it another process
	// may be faster.
	for range 3 {
		var c *child
		if c, err = runChild(ctx, cfg.Logger, program, dir, password); err == nil {
			return c, nil
		}
		if ctx.Err() != nil || !errors.Is(err, errExited) {
			break
		}
	}
	return nil, err
}

func runChild(ctx context.Context, logger *zap.Logger, program, dir, password string) (*child, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := settings{dir: dir, port: port, password: password}
	if err := s.write(); err != nil {
		return nil, err
	}
	c := &child{
		program: filepath.Base(program), dir: dir, address: s.address(),
		ending: make(chan struct{}), exited: make(chan struct{}),
	}
	if err := c.launch(program, s, logger); err != nil {
		return nil, err
	}
	if err := c.awaitReady(ctx, password); err != nil {
		return nil, errors.Join(err, c.end())
	}
	return c, nil
}

// launch starts the process and leaves a goroutine to wait for its end. That
// goroutine keeps its thread: Linux ends the child with the thread that started
// it, which is how the child does not outlive a killed parent.
func (c *child) launch(program string, s settings, logger *zap.Logger) error {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(program, s.file())
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	cmd.SysProcAttr = childAttributes()

	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		select {
		case <-c.ending:
		default:
			logger.Error("embedded redis ended by itself", zap.Error(err), zap.String("log", s.logFile()))
		}
		close(c.exited)
	}()
	if err := <-started; err != nil {
		return err
	}
	c.process = cmd.Process
	return nil
}

// errExited marks a server that ended before it answered.
var errExited = errors.New("it exited")

// awaitReady returns when the server has read its data and answers.
func (c *child) awaitReady(ctx context.Context, password string) error {
	rdb := dial(c.address, password)
	defer rdb.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if listening(ctx, c.address) && rdb.Ping(ctx).Err() == nil {
			return c.recognize(ctx, rdb)
		}
		select {
		case <-c.exited:
			return fmt.Errorf("%w before it answered, see %s", errExited, filepath.Join(c.dir, logName))
		case <-ctx.Done():
			return fmt.Errorf("it does not answer, see %s: %w", filepath.Join(c.dir, logName), context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// recognize makes sure that the server which answers is the one we started, and
// not one that was faster to take the port.
func (c *child) recognize(ctx context.Context, rdb *redis.Client) error {
	info, err := rdb.InfoMap(ctx, "server").Result()
	if err != nil {
		return fmt.Errorf("ask for its process: %w", err)
	}
	if info["Server"]["process_id"] != strconv.Itoa(c.process.Pid) {
		return fmt.Errorf("%w: its port was taken by another server", errExited)
	}
	c.version = cmp.Or(info["Server"]["valkey_version"], info["Server"]["redis_version"])
	return nil
}

func (c *child) durable() bool { return true }

func (c *child) describe() string {
	return fmt.Sprintf("%s %s on %s: jobs survive restarts, in %s", c.program, c.version, c.address, c.dir)
}

func (c *child) ended() <-chan struct{} { return c.exited }

// end asks the server to shut down, and kills it if it does not: what it has
// acknowledged is on disk either way.
func (c *child) end() error {
	close(c.ending)
	_ = c.process.Signal(syscall.SIGTERM) // it may have ended by itself
	patience := time.NewTimer(endTimeout)
	defer patience.Stop()
	select {
	case <-c.exited:
		return nil
	case <-patience.C:
	}
	_ = c.process.Kill()
	<-c.exited
	return fmt.Errorf("%s did not shut down within %s and was killed", c.program, endTimeout)
}

// dial returns a client for talking to a server of ours on this machine.
func dial(address, password string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: address, Password: password, DialTimeout: time.Second, ReadTimeout: time.Second,
		MaxRetries: -1, DialerRetries: 1, PoolSize: 1, ContextTimeoutEnabled: true, DisableIdentity: true,
	})
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
