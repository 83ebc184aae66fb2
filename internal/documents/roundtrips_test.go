package documents

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

var quoted = regexp.MustCompile("`[^`]+`")

// writtenRoundTrips counts what docs/architecture.md lists for each stage. What
// stands behind "or" is the same round trip by another name; what a reason adds
// with "and" is one more.
func writtenRoundTrips(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	require.NoError(t, err)
	_, table, found := strings.Cut(string(text), "| stage | round trip |")
	require.True(t, found, "docs/architecture.md has no table of round trips")
	counts, stage := map[string]int{}, ""
	for _, line := range strings.Split(table, "\n")[2:] {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			break
		}
		if name, _, _ := strings.Cut(strings.TrimSpace(cells[1]), ","); name != "" {
			stage = name
		}
		trips, _, _ := strings.Cut(cells[2], " or ")
		counts[stage] += len(quoted.FindAllString(trips, -1))
		if more, ok := strings.CutPrefix(strings.TrimSpace(cells[3]), "and "); ok {
			counts[stage] += len(quoted.FindAllString(more, -1))
		}
	}
	return counts
}

// TestRoundTripsAreThoseOfTheTable runs a job under Redis' MONITOR and counts.
func TestRoundTripsAreThoseOfTheTable(t *testing.T) {
	t.Parallel()
	db := redistest.Start(t)
	told := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		told <- r.Header.Get("Webhook-Id")
	}))
	t.Cleanup(receiver.Close)
	url := serve(t, func(c *config.Config) {
		c.Redis.URL = config.URL(db.URL())
		c.Webhooks.AllowHTTP, c.Webhooks.AllowPrivate = true, []string{receiver.URL}
		c.Providers = []config.Provider{{Name: "sketch", Use: "sketch", OnUnknown: "hold", Concurrency: 4,
			Options: map[string]any{"min_duration_ms": 100, "max_duration_ms": 200}}}
	})
	api, err := client.Dial(url, "")
	require.NoError(t, err)
	run := func() string {
		job, err := api.Enqueue(t.Context(), tasks.Draft{
			FeatureType: tasks.TextToImage, InputData: json.RawMessage(`{"prompt":"a kite","size":"64x64"}`), WebhookURL: receiver.URL,
		})
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(<-told, job.ID))
		return job.ID
	}
	run() // the first job teaches the server asynq's scripts
	commands := monitor(t, db.Addr())
	id := run()

	counted := tally{trips: map[string]int{}, stageOf: map[string]string{"": "deliver"}, stage: "accept"}
	for !counted.complete() {
		c, open := <-commands
		require.True(t, open, "the job did not come to its end: %+v", counted)
		if !c.fromScript && c.names(id) && !c.looksOn() {
			counted.add(c)
		}
	}
	polls := counted.claims["poll"]
	require.NotZero(t, polls)
	counted.trips["poll"] /= polls
	require.Equal(t, writtenRoundTrips(t), counted.trips)
}

// tally counts the round trips of one job by stage.
type tally struct {
	trips   map[string]int
	claims  map[string]int
	settled int
	stage   string            // that is under way
	stageOf map[string]string // by step and generation of the task
}

func (n *tally) add(c command) {
	switch queue := c.queue(); {
	case c.isClaim():
		n.stage = n.stageOf[c.args[6]]
		if n.claims == nil {
			n.claims = map[string]int{}
		}
		n.claims[n.stage]++
		n.trips[n.stage] += 2 // asynq's Dequeue came before it, which names no job
	case c.isDone():
		n.settled++
		n.trips[queue]++ // perhaps after the next stage has begun
	case queue != "":
		task := strings.Split(c.args[3], ":")
		n.stageOf[strings.Join(task[len(task)-2:], ":")] = queue
		n.trips[n.stage]++
	default:
		n.trips[n.stage]++
	}
}

// complete reports whether the caller was told and every task is settled.
func (n *tally) complete() bool {
	claimed := 0
	for _, times := range n.claims {
		claimed += times
	}
	return n.claims["deliver"] > 0 && n.settled == claimed
}

// command is one line of MONITOR.
type command struct {
	fromScript bool
	args       []string
}

var argument = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)

// monitor yields every command that the server is given from now on.
func monitor(t *testing.T, address string) <-chan command {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	_, err = fmt.Fprint(conn, "MONITOR\r\n")
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<20)
	require.True(t, lines.Scan())
	require.Equal(t, "+OK", lines.Text())
	commands := make(chan command, 100_000)
	go func() {
		defer close(commands)
		for lines.Scan() {
			c := command{fromScript: strings.Contains(lines.Text(), " lua] ")}
			for _, match := range argument.FindAllStringSubmatch(lines.Text(), -1) {
				c.args = append(c.args, match[1])
			}
			commands <- c
		}
	}()
	return commands
}

func (c command) names(id string) bool {
	return slices.ContainsFunc(c.args, func(arg string) bool { return strings.Contains(arg, id) })
}

// looksOn reports whether the command is beside the job's path: somebody reads
// the record to look at it, or a worker's heartbeat names the job.
func (c command) looksOn() bool {
	return c.args[0] == "hmget" && slices.Contains(c.args, "rec") || c.args[0] == "evalsha" && c.args[2] == "1"
}

var step = regexp.MustCompile(`^(\d+:\d+)?$`)

// isClaim recognizes the script by its two keys, job and open index, and by the
// step behind job and lease, which is empty in the side lanes.
func (c command) isClaim() bool {
	return len(c.args) > 6 && c.args[2] == "2" && c.args[4] == "easel:open" && step.MatchString(c.args[6])
}

func (c command) isDone() bool {
	return len(c.args) > 3 && strings.HasSuffix(c.args[3], ":active")
}

var queueName = regexp.MustCompile(`^asynq:\{(\w+)`)

// queue is the stage whose queue a command of asynq is about; empty for others.
func (c command) queue() string {
	if len(c.args) < 4 {
		return ""
	}
	match := queueName.FindStringSubmatch(c.args[3])
	if match == nil {
		return ""
	}
	return match[1]
}
