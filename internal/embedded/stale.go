package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// stopStale stops a server that an earlier process left behind in dir, as its
// parent was killed: two servers must not write to the same files. We hold the
// directory's lock, so that nobody uses it. The server has written everything
// once nobody listens on its port.
func stopStale(ctx context.Context, dir string, logger *zap.Logger) error {
	last, ok, err := readSettings(dir)
	if err != nil || !ok {
		return err
	}
	rdb := dial(last.address(), last.password)
	defer rdb.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for told := false; listening(ctx, last.address()); {
		ours, err := serves(ctx, rdb, dir)
		switch {
		case ours:
			if !told {
				logger.Warn("stopping a redis that an earlier process left behind", zap.String("dir", dir))
				told = true
			}
			// It closes the connection instead of answering.
			_ = rdb.ShutdownNoSave(ctx).Err()
		case !isSilence(err):
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("a redis of an earlier start on %s does not end (if it is none, remove %s): %w",
				last.address(), last.file(), context.Cause(ctx))
		}
	}
	return nil
}

// listening reports whether somebody accepts connections there. It asks without
// a client, which would complain on the standard error stream.
func listening(ctx context.Context, address string) bool {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was written
	return true
}

// serves reports whether the server keeps its files in dir. To know our
// password proves nothing: a server without one accepts any.
func serves(ctx context.Context, rdb *redis.Client, dir string) (bool, error) {
	answer, err := rdb.ConfigGet(ctx, "dir").Result()
	if err != nil {
		return false, err
	}
	theirs, err := os.Stat(answer["dir"])
	if err != nil {
		return false, nil //nolint:nilerr // a directory that we cannot see is not ours
	}
	ours, err := os.Stat(dir)
	return err == nil && os.SameFile(theirs, ours), nil
}

// isSilence reports whether somebody listens and does not answer: a server that
// hangs, or one that is just ending.
func isSilence(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF)
}
