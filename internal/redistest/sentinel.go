package redistest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// MasterName is what sentinels call the server that they watch.
const MasterName = "primary"

// ReplicaOf makes the server a replica of another.
func ReplicaOf(master *Server) Option {
	return Args("--replicaof", "127.0.0.1", strconv.Itoa(master.port))
}

// Program runs another server than the one on the PATH.
func Program(path string) Option {
	return func(s *Server) { s.bin = path }
}

// Sentinels are processes that watch a server and put a replica in its place.
type Sentinels []*Server

// StartSentinels runs three sentinels until the test ends. They call a master
// dead that has been silent for a second.
func StartSentinels(t testing.TB, master *Server) Sentinels {
	t.Helper()
	var all Sentinels
	for range 3 {
		dir := t.TempDir()
		file := filepath.Join(dir, "sentinel.conf")
		if err := os.WriteFile(file, fmt.Appendf(nil, "sentinel monitor %[1]s 127.0.0.1 %[2]d 2\n"+
			"sentinel down-after-milliseconds %[1]s 1000\nsentinel failover-timeout %[1]s 5000\n", MasterName, master.port), 0o600); err != nil {
			t.Fatal(err)
		}
		all = append(all, Start(t, configured(file)))
	}
	return all
}

// configured has the server read a file first, and watch instead of serve.
func configured(file string) Option {
	return func(s *Server) { s.config = file }
}

// URL is the address of whoever is master now.
func (all Sentinels) URL() string {
	hosts := make([]string, len(all))
	for i, s := range all {
		hosts[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
	}
	return "redis+sentinel://" + strings.Join(hosts, ",") + "/0?master_name=" + url.QueryEscape(MasterName)
}
