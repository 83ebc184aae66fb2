package redistest_test

import (
	"bufio"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/redistest"
)

func TestKilledServerKeepsWhatItsFileHolds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		opts []redistest.Option
		end  func(*redistest.Server)
		want string
	}{
		{"append-only, killed", []redistest.Option{redistest.AOF("always")}, (*redistest.Server).Kill, "$2"},
		{"append-only, stopped", []redistest.Option{redistest.AOF("everysec")}, (*redistest.Server).Stop, "$2"},
		{"in memory, killed", nil, (*redistest.Server).Kill, "$-1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, tc.opts...)
			require.Equal(t, "+OK", ask(t, s, "SET key v1"))
			addr := s.Addr()
			tc.end(s)
			_, err := net.DialTimeout("tcp", addr, time.Second)
			require.Error(t, err, "nobody listens while the server is down")

			s.Restart()
			require.Equal(t, addr, s.Addr())
			require.Equal(t, tc.want, ask(t, s, "GET key"))
		})
	}
}

func TestPausedServerAnswersAfterResume(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Pause()
	conn := dial(t, s)
	_, err := conn.Write([]byte("PING\r\n"))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)

	s.Resume()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "+PONG\r\n", line)
}

// ask sends an inline command and returns the first line of the reply.
func ask(t *testing.T, s *redistest.Server, command string) string {
	t.Helper()
	conn := dial(t, s)
	_, err := conn.Write([]byte(command + "\r\n"))
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	return line[:len(line)-2]
}

func dial(t *testing.T, s *redistest.Server) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.Addr(), 5*time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
