package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/internal/embedded"
	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
)

// lab is what both sides work with: one Redis, one double of a provider in two
// moods, one receiver of webhooks, one disk.
type lab struct {
	machine machine
	opts    options

	dir      string
	server   *embedded.Server
	admin    *redis.Client // for looking and clearing; nothing measured goes through it
	closers  []func() error
	instant  string // the provider that answers with the result
	patient  string // the provider that answers with an id, to be polled
	receiver string // takes every webhook
}

// generation is how long the patient provider works: not done when it answers,
// and done before it is polled.
const generation = 150 * time.Millisecond

// machine says where the numbers come from.
type machine struct {
	Date  string `json:"date"`
	Cores int    `json:"cores"`
	Go    string `json:"go"`
	Redis string `json:"redis"`
	Fsync string `json:"appendfsync"`
}

// openLab starts everything. What was started before a failure ends again.
func openLab(ctx context.Context, opts options) (_ *lab, err error) {
	l := &lab{opts: opts}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.dir, err = os.MkdirTemp(l.opts.dir, "easel-bench-"); err != nil {
		return nil, err
	}
	l.closers = append(l.closers, func() error { return os.RemoveAll(l.dir) })
	if err := l.startRedis(ctx); err != nil {
		return nil, err
	}
	if l.instant, err = l.startProvider(sketch.ServiceConfig{}); err != nil {
		return nil, err
	}
	if l.patient, err = l.startProvider(sketch.ServiceConfig{
		Mode: sketch.ModeAsync, MinDuration: generation, MaxDuration: generation,
	}); err != nil {
		return nil, err
	}
	l.receiver, err = l.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}))
	return l, err
}

// startRedis starts a real server with an append-only file, which is not
// rewritten while it is measured.
func (l *lab) startRedis(ctx context.Context) (err error) {
	// It outlives the context: who works with it ends first.
	l.server, err = embedded.Start(context.WithoutCancel(ctx), embedded.Config{DataDir: l.dir})
	if err != nil {
		return err
	}
	l.closers = append(l.closers, l.server.Close)
	if !l.server.Durable() {
		return errors.New("redis-server or valkey-server must be on the PATH")
	}
	if l.admin, err = l.client(); err != nil {
		return err
	}
	for name, value := range map[string]string{"appendfsync": l.opts.fsync, "auto-aof-rewrite-percentage": "0"} {
		if err := l.admin.ConfigSet(ctx, name, value).Err(); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	info, err := l.admin.InfoMap(ctx, "server").Result()
	if err != nil {
		return err
	}
	l.machine = machine{
		Date: time.Now().UTC().Format(time.DateOnly), Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(),
		Redis: info["Server"]["redis_version"], Fsync: l.opts.fsync,
	}
	return nil
}

// client connects to the Redis the way Easel's own processes do; both sides get
// the same kind of client.
func (l *lab) client(hooks ...redis.Hook) (*redis.Client, error) {
	client, err := store.NewClient(l.server.URL())
	if err != nil {
		return nil, err
	}
	for _, hook := range hooks {
		client.AddHook(hook)
	}
	return client, nil
}

// startProvider starts a double of a provider behind real HTTP.
func (l *lab) startProvider(config sketch.ServiceConfig) (url string, err error) {
	service, err := sketch.NewService(config)
	if err != nil {
		return "", err
	}
	l.closers = append(l.closers, service.Close)
	return l.serve(service)
}

// serve serves on a free loopback port until the lab is closed.
func (l *lab) serve(handler http.Handler) (url string, err error) {
	url, stop, err := serve(&http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second})
	if err == nil {
		l.closers = append(l.closers, stop)
	}
	return url, err
}

// clear empties Redis, so that every turn begins alike.
func (l *lab) clear(ctx context.Context) error {
	if err := l.admin.FlushDB(ctx).Err(); err != nil {
		return fmt.Errorf("clear redis: %w", err)
	}
	return nil
}

// storage is a new directory for the results of one turn.
func (l *lab) storage() (string, error) {
	dir, err := os.MkdirTemp(l.dir, "storage-")
	if err != nil {
		return "", err
	}
	return "file://" + filepath.ToSlash(dir), nil
}

// close ends what was started, the last first.
func (l *lab) close() error {
	if l.admin != nil {
		l.closers = append(l.closers, l.admin.Close)
	}
	return closeAll(l.closers)
}

// closeAll closes in the reverse order of opening.
func closeAll(closers []func() error) error {
	var failed []error
	for i := len(closers) - 1; i >= 0; i-- {
		failed = append(failed, closers[i]())
	}
	return errors.Join(failed...)
}

// serve serves on a free loopback port until it is stopped.
func serve(server *http.Server) (url string, stop func() error, err error) {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", "0"))
	if err != nil {
		return "", nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	stop = func() error {
		err := server.Close()
		if cause := <-ended; !errors.Is(cause, http.ErrServerClosed) {
			err = errors.Join(err, cause)
		}
		return err
	}
	return "http://" + listener.Addr().String(), stop, nil
}
