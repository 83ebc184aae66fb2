package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// shiftVariable tells a program of [shiftedPrograms] how far its wall clock is
// off: a duration in whole seconds.
const shiftVariable = "EASEL_TEST_CLOCK_SHIFT"

// shifted is the environment of a program whose wall clock is off.
func shifted(by time.Duration) string { return shiftVariable + "=" + by.String() }

// The function that is changed, and what it becomes. It stays on its lines, and
// nothing is declared, so that all packages that were compiled against Go's own
// fit the changed one as well.
const (
	readsTheClock = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0"
	shiftsIt      = "\tsec, nsec, mono := runtimeNow(); " +
		`if text, off := syscall.Getenv("` + shiftVariable + `"); off { by, _ := ParseDuration(text); sec += int64(by / Second) }` +
		"\n\tif mono == 0"
	imports   = "\nimport (\n\t\"errors\"\n"
	importsIt = "\nimport (\n\t\"errors\"; \"syscall\"\n"
)

// shiftedPrograms builds the programs of this tree with a wall clock that can be
// set apart, once for all tests, and returns where they are. Only the package
// time is compiled anew, and put in the place of Go's own when the programs are
// linked; an overlay would compile all packages again, which takes minutes.
// Libraries that are loaded before a program do nothing to Go's clock.
var shiftedPrograms = sync.OnceValues(func() (dir string, err error) {
	dir = filepath.Join(binaries, "shifted")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	archive, err := shiftedTime(dir)
	if err != nil {
		return "", err
	}
	for _, program := range []string{"api", "worker"} {
		if err := linkWith(archive, program, dir); err != nil {
			return "", err
		}
	}
	return dir, nil
})

// shiftedTime compiles the changed package time.
func shiftedTime(dir string) (archive string, err error) {
	var pkg struct {
		Dir     string
		GoFiles []string
	}
	described, err := run("go", "list", "-json=Dir,GoFiles", "time")
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(described, &pkg); err != nil {
		return "", err
	}
	changed, archive, config := filepath.Join(dir, "time.go"), filepath.Join(dir, "time.a"), filepath.Join(dir, "time.cfg")
	if err := shiftSource(filepath.Join(pkg.Dir, "time.go"), changed); err != nil {
		return "", err
	}
	compiled, err := packageFiles("time")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(config, []byte(strings.Join(compiled, "\n")), 0o600); err != nil {
		return "", err
	}
	// The file is to go by its own name: that is part of what others compiled against.
	compile := []string{"tool", "compile", "-o", archive, "-p", "time", "-std", "-importcfg", config,
		"-trimpath", changed + "=>$GOROOT/src/time/time.go", "-pack"}
	for _, file := range pkg.GoFiles {
		if file == "time.go" {
			compile = append(compile, changed)
		} else {
			compile = append(compile, filepath.Join(pkg.Dir, file))
		}
	}
	_, err = run("go", compile...)
	return archive, err
}

// shiftSource changes the source of [time.Now].
func shiftSource(from, to string) error {
	source, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	for _, change := range [][2]string{{imports, importsIt}, {readsTheClock, shiftsIt}} {
		if bytes.Count(source, []byte(change[0])) != 1 {
			return fmt.Errorf("%s is not as this test knows it: it does not hold %q once", from, change[0])
		}
		source = bytes.Replace(source, []byte(change[0]), []byte(change[1]), 1)
	}
	return os.WriteFile(to, source, 0o600)
}

// linkWith links a program of this tree with another package time.
func linkWith(archive, program, dir string) error {
	const module = "github.com/easel-jobs/easel/cmd/"
	compiled, err := packageFiles("../../cmd/" + program)
	if err != nil {
		return err
	}
	var main string
	for i, line := range compiled {
		if strings.HasPrefix(line, "packagefile time=") {
			compiled[i] = "packagefile time=" + archive
		}
		if file, found := strings.CutPrefix(line, "packagefile "+module+program+"="); found {
			main = file
		}
	}
	config := filepath.Join(dir, program+".cfg")
	if err := os.WriteFile(config, []byte(strings.Join(compiled, "\n")), 0o600); err != nil {
		return err
	}
	_, err = run("go", "tool", "link", "-importcfg", config, "-buildmode=exe", "-s", "-w", "-o", filepath.Join(dir, program), main)
	return err
}

// packageFiles says where the build has put all that a package needs, in the
// words of the compiler and the linker.
func packageFiles(pkg string) ([]string, error) {
	listed, err := run("go", "list", "-deps", "-export", "-f", "{{if .Export}}packagefile {{.ImportPath}}={{.Export}}{{end}}", pkg)
	return strings.Split(strings.TrimSpace(string(listed)), "\n"), err
}

func run(name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args[:min(2, len(args))], " "), err, complaint.String())
	}
	return out, nil
}

// apart is how far clocks are off in [TestClocksApart], and much more than any
// patience of asynq: its leases are 30 seconds long.
const apart = time.Minute

// offClocks are the clocks of the workers, then of the APIs. Redis' is right.
var offClocks = [chaosWorkers + chaosAPIs]time.Duration{apart, 0, -apart, 0, apart, 0}

// TestClocksApart runs mixed jobs in processes whose wall clocks are a minute
// ahead, right, and a minute behind. It holds them to what all jobs are held to,
// and to the time: nothing happens much too early or much too late, and nobody
// is asked again and again.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	programs, err := shiftedPrograms()
	require.NoError(t, err)
	c := newChaos(t, uint64(time.Now().UnixNano()))
	c.programs, c.length = programs, 30*time.Second
	for i, off := range offClocks {
		c.processes = append(c.processes, c.launch(programOf(i), shifted(off)))
	}
	for _, p := range c.processes[:chaosWorkers] {
		p.awaitRunning(t)
	}
	c.awaitAPIs()
	c.requireClocksAreOff()
	c.callers(300, c.length)
	slow, later := c.askSlow(20), c.askLater(20)
	c.replaceFastWorker(5)
	c.errands.Wait()
	require.Empty(t, c.trouble, "callers were refused")
	c.account()
	c.requirePunctual(slow, later)
}

// requireClocksAreOff looks at what the processes write into their logs.
func (c *chaos) requireClocksAreOff() {
	for i, p := range c.processes {
		log, err := os.ReadFile(p.log)
		require.NoError(c.t, err)
		first, _, _ := bytes.Cut(log, []byte("\n"))
		var entry struct{ Time time.Time }
		require.NoError(c.t, json.Unmarshal(first, &entry), "%s", first)
		require.WithinDuration(c.t, time.Now().Add(offClocks[i]), entry.Time, apart/2, "%s has another clock", p.name)
	}
}

// askSlow asks for generations that take half a minute.
func (c *chaos) askSlow(n int) []*request {
	return c.askAlike(n, "polled", func() tasks.Draft { return noop(`{"sync":false,"duration_ms":30000,"webhook":"none"}`) })
}

// askLater asks for jobs that are to run in half a minute.
func (c *chaos) askLater(n int) []*request {
	return c.askAlike(n, "later", func() tasks.Draft {
		draft, at := noop(`{"sync":false,"duration_ms":300}`), time.Now().Add(30*time.Second)
		draft.RunAt = &at
		return draft
	})
}

// askAlike asks the APIs in turn for jobs of one kind.
func (c *chaos) askAlike(n int, kind string, draft func() tasks.Draft) (asked []*request) {
	apis := c.apis()
	for i := range n {
		r := &request{n: 1_000_000 + i, kind: kind, place: "asked", draft: draft(), ends: tasks.StatusCompleted}
		r.draft.ProviderID = r.place
		job, err := apis[i%len(apis)].Enqueue(c.t.Context(), r.draft)
		require.NoError(c.t, err)
		r.id = job.ID
		asked = append(asked, r)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, asked...)
	return asked
}

// apis are clients of each API by itself.
func (c *chaos) apis() (apis []*client.Client) {
	for _, p := range c.processes[chaosWorkers:] {
		api, err := client.Dial("http://"+p.said("api is listening"), "")
		require.NoError(c.t, err)
		apis = append(apis, api)
	}
	return apis
}

// replaceFastWorker starts the worker whose clock is ahead anew, time and again:
// the first thing that asynq does in each is to look for tasks of dead workers,
// while all others are in the middle of theirs.
func (c *chaos) replaceFastWorker(times int) {
	for range times {
		time.Sleep(c.length / time.Duration(times)) // the pace of the deploys
		next := c.launch(programOf(0), shifted(offClocks[0]))
		c.processes[0].stop()
		c.processes[0] = next
	}
}

// How long things may take here beyond what they take by themselves, and how
// much too early they may be. The machine is a busy one; a clock that is
// followed where it should not be shows by a minute.
const (
	leeway   = 25 * time.Second
	earliest = -1500 * time.Millisecond // asynq counts in whole seconds
)

// slowPolls is how often a generation of half a minute is asked after at most:
// each wait is a quarter longer than the one before.
const slowPolls = 16

// requirePunctual holds jobs to the time by Redis' clock, which is right.
func (c *chaos) requirePunctual(slow, later []*request) {
	records := c.records()
	load := func(r *request) *tasks.Job {
		job, err := records.Load(c.t.Context(), r.id)
		require.NoError(c.t, err)
		return job
	}
	var startedLate, longest time.Duration
	polls := 0
	for _, r := range later {
		late := load(r).Submissions[0].SentAt.Sub(*r.draft.RunAt)
		require.Greater(c.t, late, earliest, "it was submitted too early")
		require.Less(c.t, late, leeway, "it was submitted too late")
		startedLate = max(startedLate, late)
	}
	for _, r := range slow {
		job := load(r)
		require.Less(c.t, job.FinishedAt.Sub(job.CreatedAt), 30*time.Second+leeway)
		require.LessOrEqual(c.t, job.Submissions[0].Polls, slowPolls, "%s was polled before its time", r.id)
		polls = max(polls, job.Submissions[0].Polls)
	}
	for _, r := range c.asked {
		job := load(r)
		if r.kind == "retried" || r.resolved || job.Resubmits > 0 || slices.Contains(slow, r) {
			continue // it waited for us, or for the end of a call that was lost
		}
		began := job.CreatedAt
		if r.draft.RunAt != nil {
			began = *r.draft.RunAt
		}
		took := job.FinishedAt.Sub(began)
		require.Less(c.t, took, leeway, "%s: %+v", r.kind, job)
		longest = max(longest, took)
	}
	c.t.Logf("clocks apart by %v: submitted at most %v late, polled at most %d times in half a minute, finished in %v",
		2*apart, startedLate, polls, longest)
	c.requireToldInTime(load)
	c.requireLinksHold(load)
}

// requireToldInTime compares webhooks with the ends that they tell of. Receivers
// refuse those whose signature bears another time than theirs.
func (c *chaos) requireToldInTime(load func(*request) *tasks.Job) {
	c.receiver.mu.Lock()
	defer c.receiver.mu.Unlock()
	first := map[string]post{}
	for _, p := range c.receiver.posts {
		require.WithinDuration(c.t, p.at, p.signed, leeway, "signed at another time than it was sent")
		if _, again := first[p.job]; !again {
			first[p.job] = p
		}
	}
	for _, r := range c.asked {
		if p, told := first[r.id]; told && r.kind != "retried" && !r.resolved { // else its first end was another
			require.WithinDuration(c.t, load(r).FinishedAt, p.at, leeway, "%s, %s", r.id, r.kind)
		}
	}
}

// requireLinksHold opens an artifact at each API by the link of the other one.
func (c *chaos) requireLinksHold(load func(*request) *tasks.Job) {
	n := slices.IndexFunc(c.asked, func(r *request) bool { return load(r).State == tasks.Completed })
	for i, from := range c.apis() {
		other := c.processes[chaosWorkers+1-i].said("api is listening")
		job, err := from.Get(c.t.Context(), c.asked[n].id)
		require.NoError(c.t, err)
		link, err := url.Parse(job.Result.Artifacts[0].URL)
		require.NoError(c.t, err)
		if expires := job.Result.Artifacts[0].ExpiresAt; expires != nil {
			require.Greater(c.t, time.Until(*expires), leeway)
		}
		response, err := http.Get("http://" + other + link.RequestURI())
		require.NoError(c.t, err)
		_ = response.Body.Close()
		require.Equal(c.t, http.StatusOK, response.StatusCode, "the link of one API at the other")
	}
}
