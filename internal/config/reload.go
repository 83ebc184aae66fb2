package config

import (
	"os"
	"time"
)

// rereadAge is how old a configuration may become whose file looks the same: two
// writes within one tick of the file system's clock do.
const rereadAge = 500 * time.Millisecond

// Reloader returns a function that loads the configuration as it is now. It may
// be called often: as long as the file is the one that was read last, it returns
// what came of it, the same pointer or the same error. It is not for concurrent
// use.
func Reloader(options LoadOptions) func() (*Config, error) {
	var (
		c      *Config
		err    error
		readAt time.Time
		read   []os.FileInfo
	)
	return func() (*Config, error) {
		now := stat(options.files())
		if !readAt.IsZero() && time.Since(readAt) < rereadAge && sameFiles(read, now) {
			return c, err
		}
		read, readAt = now, time.Now()
		c, err = Load(options)
		return c, err
	}
}

// stat looks at files, of which some may not be there.
func stat(paths []string) []os.FileInfo {
	infos := make([]os.FileInfo, len(paths))
	for i, path := range paths {
		infos[i], _ = os.Stat(path) // nil is how one looks that cannot be looked at
	}
	return infos
}

func sameFiles(before, now []os.FileInfo) bool {
	for i, b := range before {
		n := now[i]
		if b == nil || n == nil {
			if b != n {
				return false
			}
			continue
		}
		if !os.SameFile(b, n) || b.Size() != n.Size() || !b.ModTime().Equal(n.ModTime()) {
			return false
		}
	}
	return true
}
