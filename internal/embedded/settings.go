package embedded

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	settingsName = "redis.conf"
	logName      = "redis.log"
)

// settings are what a child is started with. They are written to a file that
// only its owner can read, since it holds the password, and read back by the
// next start to find a server that was left behind.
type settings struct {
	dir      string
	port     int
	password string
}

func (s settings) file() string    { return filepath.Join(s.dir, settingsName) }
func (s settings) logFile() string { return filepath.Join(s.dir, logName) }
func (s settings) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// text is the server's configuration: every write is on disk before it is
// acknowledged, and nothing is ever evicted.
func (s settings) text() string {
	return fmt.Sprintf(`# Written at each start.
port %d
requirepass %s
bind 127.0.0.1
protected-mode yes
dir %s
logfile %s
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
`, s.port, s.password, quote(s.dir), quote(s.logFile()))
}

// quote writes a path the way the server reads strings.
func quote(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(path) + `"`
}

// write replaces the file as a whole, so that it is never readable by others
// nor half written.
func (s settings) write() error {
	temporary := s.file() + ".new"
	if err := os.WriteFile(temporary, []byte(s.text()), 0o600); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	if err := os.Rename(temporary, s.file()); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// readSettings returns what the last child in dir was started with; ok is false
// when there was none.
func readSettings(dir string) (s settings, ok bool, err error) {
	s.dir = dir
	file, err := os.Open(s.file())
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err != nil {
		return s, false, fmt.Errorf("read settings: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "port":
			s.port, _ = strconv.Atoi(value)
		case "requirepass":
			s.password = value
		}
	}
	if err := lines.Err(); err != nil {
		return s, false, fmt.Errorf("read settings: %w", err)
	}
	return s, s.port != 0 && s.password != "", nil
}
