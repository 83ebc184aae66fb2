package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/providertest"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// workerDir makes this test binary a worker that submits to a program that
// hangs, to be killed.
const workerDir = "EASEL_TEST_COMMAND_WORKER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(workerDir); dir != "" {
		p, err := Open(settings(dir, script("hangs.sh"), "STARTED="+filepath.Join(dir, "started")))
		if err == nil {
			_, err = p.Submit(context.Background(), request())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// What a worker knows and a program must not.
	_ = os.Setenv("EASEL_SECRET_KEY", providertest.Secret)
	os.Exit(m.Run())
}

func request() providers.Request {
	return providers.Request{
		JobID: "job_1", ClientID: "job_1-1", Submission: 1, Feature: tasks.TextToSpeech,
		Input: map[string]any{"text": providertest.Prompt},
	}
}

// script is the path of one of ours. Scripts are given to a shell as files: one
// that was just written cannot always be run.
func script(name string) string {
	path, _ := filepath.Abs(filepath.Join("testdata", name))
	return path
}

// settings are those of a provider that speaks with a script.
func settings(dir, path string, environment ...string) providers.Settings {
	return options(dir, map[string]any{
		"feature": "text-to-speech", "program": "/bin/sh", "arguments": []any{path, "{output}", "{text}"},
		"input": []any{map[string]any{"name": "text", "required": true}}, "environment": environment,
		"max_output_bytes": 100_000,
	})
}

func options(dir string, command map[string]any) providers.Settings {
	return providers.Settings{Name: "local", DataDir: dir, Options: map[string]any{"commands": []any{command}}}
}

func open(t testing.TB, s providers.Settings) *Provider {
	t.Helper()
	p, err := Open(s)
	require.NoError(t, err)
	return p.(*Provider)
}

// signal is where a script says that it has begun, and the channel that hears
// of it.
func signal(t testing.TB, path string, started chan<- struct{}) {
	t.Helper()
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	pipe, err := os.OpenFile(path, os.O_RDWR, 0) // a reader that does not wait for a writer
	require.NoError(t, err)
	t.Cleanup(func() { pipe.Close() })
	go func() {
		if n, _ := pipe.Read(make([]byte, 64)); n > 0 {
			started <- struct{}{}
		}
	}()
}

func TestContract(t *testing.T) {
	var dirs []string
	providertest.RunLocal(t, providertest.Local{
		Request: request(),
		New: func(t testing.TB, b providertest.Behavior, started chan<- struct{}) providers.Provider {
			dir := t.TempDir()
			dirs = append(dirs, dir)
			fifo := filepath.Join(dir, "started")
			if started != nil {
				signal(t, fifo, started)
			}
			s := settings(dir, script(string(b)+".sh"), "STARTED="+fifo)
			if b == providertest.Missing {
				s.Options["commands"].([]any)[0].(map[string]any)["program"] = "easel-no-such-program"
			}
			return open(t, s)
		},
		Alive: func() int {
			alive := 0
			for _, dir := range dirs {
				alive += len(processesOf(filepath.Join(dir, "command", "local", "work", "job_1-1")))
			}
			return alive
		},
	})
	for _, dir := range dirs {
		left, _ := os.ReadDir(filepath.Join(dir, "command", "local", "work"))
		require.Empty(t, left, "private directories are removed")
	}
}

// seen runs the script that tells what it sees.
func seen(t *testing.T, command map[string]any, req providers.Request) string {
	t.Helper()
	command["feature"], command["program"] = "text-to-speech", "/bin/sh"
	st, err := open(t, options(t.TempDir(), command)).Submit(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, providers.Succeeded, st.State, "%+v", st.Failure)
	require.Equal(t, "seen.txt", st.Outputs[0].Name)
	return string(st.Outputs[0].Data)
}

func TestWhatAProgramSees(t *testing.T) {
	t.Parallel()
	picture := []byte("\x89PNG\r\n\x1a\n and more")
	req := request()
	req.Input = map[string]any{"text": "two\nlines; $(id) `id` \"quoted\"", "image": map[string]any{"$file": 0.0}, "speed": 170.0}
	req.Files = []providers.File{{Pointer: "/image", MediaType: "image/png", Data: picture}}
	req.Model = "large"
	out := seen(t, map[string]any{
		"arguments": []any{
			"-c", `IMAGE="$2" OUTPUT="$3"; export IMAGE OUTPUT; exec sh "$1" "$@"`, "sh",
			script("look.sh"), "{image}", "{output}", "--speed={speed}", []any{"--pitch", "{pitch}"}, "{model}", "{{}}", "--", "{text}",
		},
		"stdin":  "say: {text}",
		"models": []any{map[string]any{"name": "small"}, map[string]any{"name": "large", "value": "/models/large.gguf"}},
		"input": []any{
			map[string]any{"name": "text", "required": true}, map[string]any{"name": "image", "type": "file", "required": true},
			map[string]any{"name": "speed", "type": "integer", "default": 100}, map[string]any{"name": "pitch", "type": "integer"},
		},
		"environment": []any{"VOICE=en"},
	}, req)
	require.Contains(t, out, string(picture), "the file is there")
	require.Contains(t, out, "argument two\nlines; $(id) `id` \"quoted\"\n", "no shell reads a value")
	require.Contains(t, out, "stdin say: two\nlines;")
	for _, line := range []string{"argument --speed=170", "argument /models/large.gguf", "argument {}", "VOICE=en", "LANG=C.UTF-8"} {
		require.Contains(t, out, line+"\n")
	}
	require.NotContains(t, out, "--pitch", "what needs an input that is not given is left out")
	require.NotContains(t, out, "EASEL_SECRET_KEY", "the environment is clean")
	require.Regexp(t, `directory .*/command/local/work/job_1-1\n`, out)
}

func TestValuesNeverBecomeOptions(t *testing.T) {
	t.Parallel()
	command := func(program string, arguments ...any) *Provider {
		return open(t, options(t.TempDir(), map[string]any{
			"feature": "text-to-speech", "program": program, "arguments": arguments,
			"input": []any{
				map[string]any{"name": "text", "default": ""}, map[string]any{"name": "more", "default": ""},
				map[string]any{"name": "number", "type": "number", "default": 1},
			},
		}))
	}
	check := func(p *Provider, input map[string]any) string {
		err := p.CheckInput(tasks.TextToSpeech, "", input)
		return classify.Classify(err).Field
	}
	evil := map[string]any{"text": "--help"}
	require.Equal(t, "/input_data/text", check(command("say", "{text}"), evil))
	require.Equal(t, "/input_data/text", check(command("say", "-v", "{text}"), evil), "what an option takes is refused too: some take none")
	require.Empty(t, check(command("say", "--", "{text}"), evil))
	require.Empty(t, check(command("say", "--text={text}"), evil))
	require.Empty(t, check(command("say", "-v{text}"), evil))
	require.Equal(t, "/input_data/number", check(command("say", "{number}"), map[string]any{"number": -1.0}))
	require.Equal(t, "/input_data/text", check(command("say", "{more}{text}"), evil), "an empty value before it does not hide it")
	require.Equal(t, "/input_data/more", check(command("say", "{more}{text}"), map[string]any{"more": "-", "text": "x"}))
	require.Empty(t, check(command("say", "{text}"), map[string]any{"text": "a -b"}))
	require.Equal(t, "/input_data/text", check(command("/usr/bin/ffmpeg", "--", "{text}"), evil), "ffmpeg has no end of options")

	// Submit refuses it as well: not everybody asks before.
	_, err := command("/bin/sh", "{text}").Submit(t.Context(), providers.Request{
		JobID: "job_1", Submission: 1, Feature: tasks.TextToSpeech, Input: map[string]any{"text": "-c id"},
	})
	require.Equal(t, classify.Validation, classify.Classify(err).Class)
	require.Equal(t, "/input_data/promt", check(command("say", "{text}"), map[string]any{"promt": "x"}), "what is not declared is refused")
	require.Equal(t, "/model", classify.Classify(command("say").CheckInput(tasks.TextToSpeech, "huge", nil)).Field)
}

func TestFfmpegOpensFilesOnly(t *testing.T) {
	t.Parallel()
	ffmpeg := func(arguments ...any) (*Provider, error) {
		p, err := Open(options(t.TempDir(), map[string]any{
			"feature": "text-to-video", "program": "/usr/bin/ffmpeg", "arguments": arguments,
			"input": []any{map[string]any{"name": "video", "type": "file", "required": true}, map[string]any{"name": "text", "default": "x"}},
		}))
		if err != nil {
			return nil, err
		}
		return p.(*Provider), nil
	}
	p, err := ffmpeg("-y", "-i", "{video}", "-loop", "1", []any{"-i", "{video}"}, "{output}/clip.mp4")
	require.NoError(t, err)
	arguments, refused := p.commands[0].render(map[string]string{"video": "/in/v.mp4", "output": "/out"})
	require.Empty(t, refused)
	require.Equal(t, "-y -protocol_whitelist file,pipe -i /in/v.mp4 -loop 1 -protocol_whitelist file,pipe -i /in/v.mp4 /out/clip.mp4", strings.Join(arguments, " "))
	_, err = ffmpeg("-protocol_whitelist", "file,http", "-i", "{video}")
	require.ErrorContains(t, err, "arguments[0]: -protocol_whitelist is set by us")
	_, err = ffmpeg("-i", "{text}")
	require.ErrorContains(t, err, "arguments[0]: what ffmpeg reads must be a file")
	_, err = ffmpeg([]any{"-i", "concat:{text}"})
	require.ErrorContains(t, err, "arguments[0]: what ffmpeg reads must be a file")
}

func TestProblemsAreToldWithTheirPath(t *testing.T) {
	t.Parallel()
	var config Config
	require.NoError(t, json.Unmarshal([]byte(`{"commands":[{
		"program":"bin/say","arguments":["{text","{nobody}",["-p","{pitch}"],"{pitch}","{output}/{text}","{model}"],"stdin":"}",
		"input":[{"name":"text","required":true},{"name":"pitch","type":"integer"},{"name":"output"}],
		"models":[{}],"environment":["PATH"],"progress":"[0-9]+","exit_codes":[{"code":1,"class":"bad"},{"code":2,"class":"unknown_outcome"}],
		"timeout":"-1s","max_outputs":-1},
		{"feature":"upscale","program":"a","arguments":["{model}"]},{"feature":"upscale","program":"b"}]}`), &config))
	_, problems := config.compile()
	text := errors.Join(problems...).Error()
	for _, want := range []string{
		"commands[0].feature: is missing", "commands[0].program: must be a name or an absolute path",
		"commands[0].arguments[0]: has a brace", "commands[0].arguments[1]: {nobody} is not declared",
		"commands[0].arguments[3]: {pitch} may be missing", "commands[0].arguments[4]: {text} cannot be part of a path",
		"commands[0].stdin: has a brace", "commands[0].input[2].name: is the name of something else",
		"commands[0].models[0].name: is missing", "commands[0].environment[0]: must be NAME=value",
		"commands[0].progress: needs a group named percent", "commands[0].exit_codes[0].class", "commands[0].exit_codes[1].class",
		"commands[0].timeout: must not be negative", "commands[0].max_outputs: must not be negative",
		"commands[1].arguments[0]: {model} needs models", "commands[2].feature: there is a command for it already",
	} {
		require.Contains(t, text, want)
	}
	require.Len(t, problems, 17, text)

	_, err := Open(providers.Settings{Name: "x", BaseURL: "http://127.0.0.1", APIKey: "k"})
	require.ErrorContains(t, err, "base_url: a program has none")
	require.ErrorContains(t, err, "api_key: a program gets none")
	require.ErrorContains(t, err, "options: commands: is empty")
	_, err = Open(options(t.TempDir(), map[string]any{"arguments": []any{7}}))
	require.ErrorContains(t, err, "options: ")
}

func TestOutputsThatAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		leave   func(dir string) error
		refused string
		names   []string
	}{
		"files, in order": {func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/b.txt", []byte("2"), 0o600), os.MkdirAll(dir+"/deep/er", 0o700),
				os.WriteFile(dir+"/deep/er/c.txt", []byte("3"), 0o600), os.WriteFile(dir+"/a.txt", []byte("1"), 0o600), os.WriteFile(dir+"/void", nil, 0o600))
		}, "", []string{"a.txt", "b.txt", "c.txt"}},
		"nothing":               {func(string) error { return nil }, "", nil},
		"a link to a file":      {func(dir string) error { return os.Symlink("/etc/passwd", dir+"/a.png") }, "a link or a device", nil},
		"a link to a directory": {func(dir string) error { return os.Symlink("/etc", dir+"/a") }, "a link or a device", nil},
		"a pipe":                {func(dir string) error { return syscall.Mkfifo(dir+"/a", 0o600) }, "a link or a device", nil},
		"a second name": {func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/../x", []byte("1"), 0o600), os.Link(dir+"/../x", dir+"/a"))
		}, "another name", nil},
		"too many":               {func(dir string) error { return write(dir, 4, 1) }, "more than 3 files", nil},
		"too much":               {func(dir string) error { return write(dir, 3, 40) }, "more than 100 bytes", nil},
		"a directory taken away": {func(dir string) error { return errors.Join(os.Remove(dir), os.Symlink("/nowhere", dir)) }, "taken its directory away", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "output")
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, tt.leave(dir))
			outputs, refused := collect(dir, 3, 100)
			if tt.refused != "" {
				require.Contains(t, refused, tt.refused)
				require.Empty(t, outputs)
				return
			}
			require.Empty(t, refused)
			var names []string
			for _, output := range outputs {
				names = append(names, output.Name)
			}
			require.Equal(t, tt.names, names)
		})
	}
}

func write(dir string, files, size int) error {
	var err error
	for n := range files {
		err = errors.Join(err, os.WriteFile(fmt.Sprintf("%s/%d", dir, n), make([]byte, size), 0o600))
	}
	return err
}

func TestInputFilesAreOfTheirKind(t *testing.T) {
	t.Parallel()
	p := open(t, options(t.TempDir(), map[string]any{
		"feature": "upscale", "program": "/bin/sh", "arguments": []any{"-c", `cp "$1" "$2"`, "sh", "{image}", "{output}"},
		"input": []any{map[string]any{"name": "image", "type": "file", "required": true}},
	}))
	req := providers.Request{JobID: "job_1", Submission: 1, Feature: tasks.Upscale, Input: map[string]any{"image": map[string]any{"$file": 0.0}}}
	_, err := p.Submit(t.Context(), req)
	require.Equal(t, "/input_data/image", classify.Classify(err).Field, "a reference without its file")
	req.Submission, req.Files = 2, []providers.File{{Pointer: "/image", MediaType: "image/png", Data: []byte("#EXTM3U\nfile:///etc/passwd")}}
	_, err = p.Submit(t.Context(), req)
	require.Equal(t, classify.Validation, classify.Classify(err).Class, "it says to be a picture and is a text: %v", err)
	req.Submission, req.Files[0].Data = 3, []byte("\x89PNG\r\n\x1a\n")
	st, err := p.Submit(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, "image/png", st.Outputs[0].MediaType)
	require.Equal(t, "image", st.Outputs[0].Kind)
	require.Equal(t, "image.png", st.Outputs[0].Name)
}

func TestExitCodesAndLastWords(t *testing.T) {
	t.Parallel()
	s := settings(t.TempDir(), script("fails.sh"))
	s.Options["commands"].([]any)[0].(map[string]any)["exit_codes"] = []any{map[string]any{"code": 3, "class": "content_policy"}}
	st, err := open(t, s).Submit(t.Context(), request())
	require.NoError(t, err)
	require.Equal(t, classify.ContentPolicy, st.Failure.Class)
	require.Equal(t, "exit_3", st.Failure.Code)
	require.Equal(t, "the program ended with exit code 3: no such voice", st.Failure.Message)
}

func TestProgressIsTold(t *testing.T) {
	t.Parallel()
	dir, started := t.TempDir(), make(chan struct{}, 1)
	signal(t, filepath.Join(dir, "begun"), started)
	s := settings(dir, script("steps.sh"), "STARTED="+filepath.Join(dir, "begun"))
	s.Options["commands"].([]any)[0].(map[string]any)["progress"] = `step (?P<done>\d+)/(?P<total>\d+)`
	req := request()
	var told []float64
	req.Report = func(_ context.Context, percent *float64, _ string) bool {
		if percent != nil {
			told = append(told, *percent)
		}
		return len(told) == 0
	}
	_, err := open(t, s).Submit(t.Context(), req)
	require.Equal(t, classify.Canceled, classify.Classify(err).Class, "%v", err)
	require.Equal(t, []float64{50}, told, "the furthest, whatever came after it")
}

func TestKeptOutputIsBounded(t *testing.T) {
	t.Parallel()
	h := newHeard(&command{config: Generator{KeptOutput: 64}})
	h.take([]byte(strings.Repeat("x", 100_000) + "\nthe end\n\n"))
	require.Len(t, h.tail, 64)
	require.Equal(t, "the end", h.lastLine())
	expression, err := progressOf(`(?P<percent>[0-9.]+)%`)
	require.NoError(t, err)
	h = newHeard(&command{progress: expression})
	h.take([]byte(strings.Repeat("y", 1_000_000)))
	require.LessOrEqual(t, len(h.line), maxLine)
	h.take([]byte("\r12"))
	h.take([]byte(".5%\r900%\r"))
	require.InDelta(t, 12.5, *h.percent(), 0, "a number that came in two parts; what is no percentage is none")
}

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	if !canLimitMemory {
		t.Skip("not on this system")
	}
	s := settings(t.TempDir(), script("hungry.sh"))
	s.Options["commands"].([]any)[0].(map[string]any)["memory_limit"] = 100_000_000
	st, err := open(t, s).Submit(t.Context(), request())
	require.NoError(t, err)
	require.Equal(t, providers.Failed, st.State)
	require.Contains(t, st.Failure.Code, "exit_", "it ran out of memory: %+v", st.Failure)
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	s := settings(t.TempDir(), script("hangs.sh"), "STARTED=/dev/null")
	s.Options["commands"].([]any)[0].(map[string]any)["timeout"] = "200ms"
	st, err := open(t, s).Submit(t.Context(), request())
	require.NoError(t, err)
	require.Equal(t, "timed_out", st.Failure.Code)
}

// TestKilledWorkersProgramIsEnded kills a worker while its program runs, and
// looks the submission up as its successor does: it is absent only once
// everything that the program had started is over.
func TestKilledWorkersProgramIsEnded(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are not found by their environment here")
	}
	dir, started := t.TempDir(), make(chan struct{}, 1)
	signal(t, filepath.Join(dir, "started"), started)
	worker := exec.CommandContext(t.Context(), os.Args[0])
	worker.Env = append(os.Environ(), workerDir+"="+dir)
	require.NoError(t, worker.Start())
	<-started
	require.NoError(t, worker.Process.Kill())
	_ = worker.Wait()

	p := open(t, settings(dir, script("hangs.sh")))
	lost := providers.Lost{Request: request()}
	_, err := p.Find(t.Context(), lost)
	require.NotErrorIs(t, err, providers.ErrAbsent, "the program's children have outlived it")
	require.Eventually(t, func() bool {
		_, err = p.Find(t.Context(), lost)
		return errors.Is(err, providers.ErrAbsent)
	}, 20*time.Second, 10*time.Millisecond, "%v", err)
	require.Empty(t, processesOf(p.workPath("job_1-1")))
	require.NoDirExists(t, p.workPath("job_1-1"))
}

func TestFindElsewhere(t *testing.T) {
	t.Parallel()
	p := open(t, settings(t.TempDir(), script("answers.sh")))
	_, err := p.Find(t.Context(), providers.Lost{Request: request()})
	require.ErrorIs(t, err, errors.ErrUnsupported, "no mark: nobody here can tell")
	require.NoError(t, os.MkdirAll(filepath.Dir(p.markPath("job_1-1")), 0o700))
	require.NoError(t, os.WriteFile(p.markPath("job_1-1"), []byte(`{"host":"another","boot":"another"}`), 0o600))
	_, err = p.Find(t.Context(), providers.Lost{Request: request()})
	require.NotErrorIs(t, err, providers.ErrAbsent)
	require.NotErrorIs(t, err, errors.ErrUnsupported, "its own machine will tell")
	host, _ := os.Hostname()
	require.True(t, origin{Host: host, Boot: "before it was started again"}.mine())
}

func TestTidy(t *testing.T) {
	t.Parallel()
	p := open(t, settings(t.TempDir(), script("answers.sh")))
	_, err := p.Submit(t.Context(), request())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(p.workPath("job_1-1"), 0o700)) // left by a worker that was killed
	now := time.Now()
	p.tidyDue = now
	p.tidy(now)
	require.FileExists(t, p.markPath("job_1-1"), "it may still be asked for")
	p.tidy(now.Add(keepMarks + tidyEvery))
	require.NoFileExists(t, p.markPath("job_1-1"))
	require.NoDirExists(t, p.workPath("job_1-1"))

	_, err = p.Submit(t.Context(), request())
	require.NoError(t, err)
	_, err = p.Submit(t.Context(), request())
	require.Error(t, err, "a submission has a number of its own: the same is not run twice")
	require.NotEqual(t, http.StatusOK, classify.Classify(err).Status)
}
