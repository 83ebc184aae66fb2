package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// ErrInUse is what [Start] answers when another process uses the data directory.
var ErrInUse = errors.New("data directory is in use by another easel")

// lock keeps other processes out of a data directory. The kernel frees it with
// the process, however that ends; the child does not inherit it.
type lock struct {
	file *os.File
}

// acquire takes the lock, or says who has it.
func acquire(path string) (*lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		defer file.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, fmt.Errorf("%s: %w (process %s)", filepath.Dir(path), ErrInUse, holder(file))
	}
	if err := errors.Join(file.Truncate(0), writePID(file)); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return &lock{file}, nil
}

// holder reads the process id that the lock's owner left, for people.
func holder(file *os.File) string {
	text, err := io.ReadAll(io.LimitReader(file, 32))
	pid, parseErr := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil || parseErr != nil {
		return "unknown"
	}
	return strconv.Itoa(pid)
}

func writePID(file *os.File) error {
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// release frees the directory. The file stays: removing it would let two
// processes lock two files of the same name. Closing alone would not do: a
// program that another goroutine starts at this moment has a copy of the
// descriptor until it runs, and the lock lives as long as its last copy (flock(2)).
func (l *lock) release() error {
	return errors.Join(syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN), l.file.Close())
}
