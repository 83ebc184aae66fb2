package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/easel-jobs/easel/internal/embedded"
)

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// parentDir names the data directory of a process that this binary becomes.
const parentDir = "EMBEDDED_TEST_PARENT_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentDir); dir != "" {
		serveUntilKilled(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// serveUntilKilled starts a server, tells its URL, and never ends it.
func serveUntilKilled(dir string) {
	server, err := embedded.Start(context.Background(), embedded.Config{DataDir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(server.URL())
	<-server.Done()
}

func nothingOnPath(string) (string, error) { return "", exec.ErrNotFound }

func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(context.Background(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return server
}

func connect(t *testing.T, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	require.NoError(t, err)
	options.MaxRetries, options.DialerRetries = -1, 1
	rdb := redis.NewClient(options)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func TestChildKeepsJobsAcrossRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := start(t, embedded.Config{DataDir: dir})
	require.True(t, server.Durable())
	require.Contains(t, server.Describe(), "jobs survive")
	require.NoError(t, connect(t, server.URL()).Set(t.Context(), "job", "kept", 0).Err())
	require.NoError(t, server.Close())
	require.NoError(t, server.Close(), "closing twice is closing once")
	<-server.Done()

	again := start(t, embedded.Config{DataDir: dir})
	require.NotEqual(t, server.URL(), again.URL())
	require.Equal(t, "kept", connect(t, again.URL()).Get(t.Context(), "job").Val())
}

func TestChildIsSetUpToLoseNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), `a "quoted" directory`)
	rdb := connect(t, start(t, embedded.Config{DataDir: dir}).URL())
	for name, want := range map[string]string{
		"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": "",
		"bind": "127.0.0.1", "protected-mode": "yes", "dir": filepath.Join(dir, "redis"),
	} {
		got, err := rdb.ConfigGet(t.Context(), name).Result()
		require.NoError(t, err)
		require.Equal(t, want, got[name], name)
	}
	info, err := rdb.InfoMap(t.Context(), "server").Result()
	require.NoError(t, err)
	pid, err := strconv.Atoi(info["Server"]["process_id"])
	require.NoError(t, err)
	group, err := syscall.Getpgid(pid)
	require.NoError(t, err)
	require.NotEqual(t, syscall.Getpgrp(), group, "the terminal's Ctrl-C is not for the child")

	// The password is for the owner's eyes only.
	require.NoError(t, filepath.WalkDir(filepath.Join(dir, "redis"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "redis.conf" && !entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		require.NoError(t, err)
		if !strings.Contains(path, "appendonlydir") {
			require.Zero(t, info.Mode().Perm()&0o077, path)
		}
		return nil
	}))
}

func TestJobsSurviveKillOfTheParent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 2 {
		parent := exec.Command(os.Args[0])
		parent.Env = append(os.Environ(), parentDir+"="+dir)
		output, err := parent.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, parent.Start())
		var url string
		_, err = fmt.Fscanln(output, &url)
		require.NoError(t, err)
		rdb := connect(t, url)
		require.EqualValues(t, round+1, rdb.Incr(t.Context(), "jobs").Val())
		require.NoError(t, parent.Process.Kill())
		require.Error(t, parent.Wait())
		if runtime.GOOS == "linux" {
			require.Eventually(t, func() bool { return errors.Is(rdb.Ping(t.Context()).Err(), syscall.ECONNREFUSED) }, patience, 10*time.Millisecond,
				"the child goes with its parent, before anybody looks for it")
		}
	}
	server := start(t, embedded.Config{DataDir: dir})
	require.Equal(t, "2", connect(t, server.URL()).Get(t.Context(), "jobs").Val())
}

func TestServerLeftBehindIsStopped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// What a killed parent leaves on systems that do not end its children.
	first := start(t, embedded.Config{DataDir: dir})
	url := first.URL()
	conf, err := os.ReadFile(filepath.Join(dir, "redis", "redis.conf"))
	require.NoError(t, err)
	require.NoError(t, first.Close())
	orphan := exec.Command("redis-server", filepath.Join(dir, "redis", "redis.conf"))
	require.NoError(t, orphan.Start())
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }()
	t.Cleanup(func() { _ = orphan.Process.Kill() })
	rdb := connect(t, url)
	require.Eventually(t, func() bool { return rdb.Set(t.Context(), "job", "kept", 0).Err() == nil }, patience, 5*time.Millisecond)

	core, logs := observer.New(zap.WarnLevel)
	server := start(t, embedded.Config{DataDir: dir, Logger: zap.New(core)})
	require.Equal(t, 1, logs.FilterMessageSnippet("left behind").Len())
	await(t, ended)
	require.Equal(t, "kept", connect(t, server.URL()).Get(t.Context(), "job").Val())
	for _, entry := range logs.All() {
		require.NotContains(t, fmt.Sprint(entry.ContextMap()), password(t, string(conf)))
	}
}

func password(t *testing.T, conf string) string {
	t.Helper()
	for line := range strings.Lines(conf) {
		if value, ok := strings.CutPrefix(line, "requirepass "); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatal("no password in the settings")
	return ""
}

func TestStrangerOnTheOldPortIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, embedded.Config{DataDir: dir})
	address := connect(t, first.URL()).Options().Addr
	require.NoError(t, first.Close())
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	stranger := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
	require.NoError(t, stranger.Start())
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })
	rdb := connect(t, "redis://"+address)
	require.Eventually(t, func() bool { return rdb.Ping(t.Context()).Err() == nil }, patience, 5*time.Millisecond)

	start(t, embedded.Config{DataDir: dir})
	require.NoError(t, rdb.Ping(t.Context()).Err())
}

func TestOneProcessPerDataDirectory(t *testing.T) {
	t.Parallel()
	for name, lookPath := range map[string]func(string) (string, error){"child": nil, "in process": nothingOnPath} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := embedded.Config{DataDir: t.TempDir(), LookPath: lookPath}
			server := start(t, cfg)
			_, err := embedded.Start(t.Context(), cfg)
			require.ErrorIs(t, err, embedded.ErrInUse)
			require.ErrorContains(t, err, cfg.DataDir)
			require.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))

			require.NoError(t, server.Close())
			start(t, cfg)
		})
	}
}

func TestServerEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, lookPath := range map[string]func(string) (string, error){"child": nil, "in process": nothingOnPath} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(context.Background())
			server, err := embedded.Start(ctx, embedded.Config{DataDir: t.TempDir(), LookPath: lookPath})
			require.NoError(t, err)
			rdb := connect(t, server.URL())
			require.NoError(t, rdb.Ping(t.Context()).Err())
			cancel()
			await(t, server.Done())
			require.ErrorIs(t, rdb.Ping(t.Context()).Err(), syscall.ECONNREFUSED)
			require.NoError(t, server.Close())
		})
	}
}

func TestDeathOfTheChildIsTold(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.ErrorLevel)
	server := start(t, embedded.Config{DataDir: t.TempDir(), Logger: zap.New(core)})
	_ = connect(t, server.URL()).ShutdownNoSave(t.Context()).Err()
	await(t, server.Done())
	require.Equal(t, 1, logs.FilterMessage("embedded redis ended by itself").Len())
}

func TestInProcess(t *testing.T) {
	t.Parallel()
	server := start(t, embedded.Config{DataDir: t.TempDir(), LookPath: nothingOnPath})
	require.False(t, server.Durable())
	require.Equal(t, "redis inside this process: jobs will not survive its exit, since there is no redis-server or valkey-server on the PATH", server.Describe())
	rdb := connect(t, server.URL())
	require.NoError(t, rdb.Set(t.Context(), "key", "value", time.Second).Err())
	require.Eventually(t, func() bool { return errors.Is(rdb.Get(t.Context(), "key").Err(), redis.Nil) }, patience, 10*time.Millisecond,
		"keys expire by themselves")
}

func TestNeitherIsOpenToOthers(t *testing.T) {
	t.Parallel()
	for name, lookPath := range map[string]func(string) (string, error){"child": nil, "in process": nothingOnPath} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, embedded.Config{DataDir: t.TempDir(), LookPath: lookPath})
			options := connect(t, server.URL()).Options()
			require.True(t, net.ParseIP(strings.Split(options.Addr, ":")[0]).IsLoopback())
			require.GreaterOrEqual(t, len(options.Password), 20)
			require.NotContains(t, server.Describe(), options.Password)
			require.ErrorContains(t, connect(t, "redis://"+options.Addr).Ping(t.Context()).Err(), "NOAUTH")
		})
	}
}

func TestUnusablePrograms(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, script string
		start        string // an error of Start
		describe     string // or the reason for the in-process Redis
	}{
		{"too old", `echo "Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64"`, "", "is version 6.0, and 6.2 or later is needed"},
		{"does not run", `exit 3`, "", "exit status 3"},
		{"does not start", `test "$1" = --version && echo "Redis server v=7.0.15 sha=0" && exit; exit 1`, "it exited before it answered", ""},
		{"does not answer", `test "$1" = --version && echo "Redis server v=7.0.15 sha=0" && exit; exec sleep 600`, "it does not answer", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), "redis-server")
			writeProgram(t, program, tc.script)
			cfg := embedded.Config{DataDir: t.TempDir(), StartTimeout: time.Second, LookPath: func(name string) (string, error) {
				if name == "redis-server" {
					return program, nil
				}
				return "", exec.ErrNotFound
			}}
			server, err := embedded.Start(context.Background(), cfg)
			if tc.start != "" {
				require.ErrorContains(t, err, tc.start)
				cfg.LookPath = nothingOnPath
				start(t, cfg) // the directory is free again
				return
			}
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, server.Close()) })
			require.False(t, server.Durable())
			require.Contains(t, server.Describe(), tc.describe)
		})
	}
}

// writeProgram lets a shell write the script: a file that this process has open
// for writing cannot be run while another test forks.
func writeProgram(t *testing.T, path, script string) {
	t.Helper()
	require.NoError(t, exec.Command("/bin/sh", "-c", `printf '#!/bin/sh\n%s\n' "$1" >"$2" && chmod +x "$2"`, "sh", script, path).Run())
}

func TestJobsOnDiskAreMentionedWhenTheyAreNotServed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, start(t, embedded.Config{DataDir: dir}).Close())
	core, logs := observer.New(zapcore.WarnLevel)
	start(t, embedded.Config{DataDir: dir, LookPath: nothingOnPath, Logger: zap.New(core)})
	require.Equal(t, 1, logs.FilterMessage("jobs of an earlier start are on disk and stay there").Len())
}

func await[T any](t *testing.T, ch <-chan T) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatal("it did not happen in time")
	}
}
