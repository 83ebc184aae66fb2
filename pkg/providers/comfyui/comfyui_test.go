package comfyui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/providertest"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// workflows are those of the tests: a picture from a text, and one from another.
func workflows() []Workflow {
	least, most := 1.0, 100.0
	return []Workflow{
		{
			Feature: tasks.TextToImage, GraphFile: "testdata/text-to-image.json",
			Models: providers.DeclaredModels{{Name: "sd15", Value: "v1-5-pruned.safetensors"}, {Name: "xl", Value: "sd_xl.safetensors"}},
			Input: providers.Declarations{
				{Name: "prompt", Required: true}, {Name: "negative_prompt", Default: "blurry"}, {Name: "seed", Type: "integer"},
				{Name: "steps", Type: "integer", Default: 20.0, Minimum: &least, Maximum: &most},
				{Name: "width", Type: "integer", Default: 512.0}, {Name: "height", Type: "integer", Default: 512.0},
			},
		},
		{
			Feature: tasks.ImageToImage, Graph: `{"1":{"class_type":"LoadImage","inputs":{"image":"{image}"}},"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"x"}}}`,
			Input: providers.Declarations{{Name: "image", Type: "file", Required: true, Accept: []string{"image/png"}}},
		},
	}
}

func at(t testing.TB, address string) *Provider {
	t.Helper()
	p, err := New(Config{BaseURL: address, APIKey: providertest.Secret, Workflows: workflows()})
	require.NoError(t, err)
	return p
}

func TestContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Adapter{
		New:     func(baseURL string) providers.Provider { return at(t, baseURL) },
		Replies: os.DirFS("testdata"),
		Route: func(r *http.Request) string {
			if r.Method == http.MethodGet && r.URL.Path == "/queue" {
				return "queue.http"
			}
			return ""
		},
		Unmoderated: true, EmptyPoll: true,
	})
}

// server is a double of ComfyUI by its protocol: it queues prompts, runs one at
// a time when it is told to, and tells the events of each to the client that
// has sent it.
type server struct {
	URL string

	mu          sync.Mutex
	number      float64
	ownIDs      bool // as old ones do: the prompt's id is the server's
	running     []any
	pending     [][]any
	history     map[string]any
	uploads     []string
	interrupted []string
	clients     map[string]*websocket.Conn
	connected   chan string
	gone        chan string
}

func newServer(t *testing.T) *server {
	s := &server{history: map[string]any{}, clients: map[string]*websocket.Conn{}, connected: make(chan string, 10), gone: make(chan string, 10)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /prompt", s.prompt)
	mux.HandleFunc("GET /queue", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		running := []any{}
		if s.running != nil {
			running = append(running, s.running)
		}
		answer(w, map[string]any{"queue_running": running, "queue_pending": append([][]any{}, s.pending...)})
	})
	mux.HandleFunc("POST /queue", func(_ http.ResponseWriter, r *http.Request) {
		var body struct{ Delete []string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, one := range s.pending {
			if one[1] == body.Delete[0] {
				s.pending = append(s.pending[:i], s.pending[i+1:]...)
				return
			}
		}
	})
	mux.HandleFunc("GET /history/{id}", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		found := map[string]any{}
		if entry, ok := s.history[r.PathValue("id")]; ok {
			found[r.PathValue("id")] = entry
		}
		answer(w, found)
	})
	mux.HandleFunc("GET /history", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		answer(w, s.history)
	})
	mux.HandleFunc("POST /interrupt", func(_ http.ResponseWriter, r *http.Request) {
		var body struct {
			PromptID string `json:"prompt_id"`
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		s.mu.Lock()
		s.interrupted = append(s.interrupted, body.PromptID)
		s.mu.Unlock()
		s.end("error", map[string]any{}, []any{"execution_interrupted", map[string]any{"prompt_id": body.PromptID}})
	})
	mux.HandleFunc("POST /upload/image", func(w http.ResponseWriter, r *http.Request) {
		file, header, err := r.FormFile("image")
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		file.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.uploads = append(s.uploads, r.FormValue("subfolder")+"/"+header.Filename)
		answer(w, map[string]any{"name": header.Filename, "subfolder": r.FormValue("subfolder"), "type": "input"})
	})
	mux.HandleFunc("GET /ws", s.events)
	server := httptest.NewServer(mux)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	s.URL = server.URL
	return s
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v)
}

func (s *server) prompt(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Prompt   map[string]any `json:"prompt"`
		ClientID string         `json:"client_id"`
		PromptID string         `json:"prompt_id"`
	}
	if json.NewDecoder(r.Body).Decode(&body) != nil || len(body.Prompt) == 0 {
		w.WriteHeader(http.StatusBadRequest)
		answer(w, map[string]any{"error": map[string]any{"type": "no_prompt", "message": "No prompt provided"}, "node_errors": map[string]any{}})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	if s.ownIDs || body.PromptID == "" {
		body.PromptID = fmt.Sprintf("own-%v", s.number)
	}
	s.pending = append(s.pending, []any{s.number, body.PromptID, body.Prompt, map[string]any{"client_id": body.ClientID}, []string{"9"}})
	answer(w, map[string]any{"prompt_id": body.PromptID, "number": s.number, "node_errors": map[string]any{}})
}

// next begins the prompt that waits longest.
func (s *server) next() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.pending = s.pending[0], s.pending[1:]
}

// end writes the running prompt into the history.
func (s *server) end(status string, outputs map[string]any, messages ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history[s.running[1].(string)] = map[string]any{
		"prompt": s.running, "outputs": outputs,
		"status": map[string]any{"status_str": status, "completed": status == "success", "messages": messages},
	}
	s.running = nil
}

// events keeps a client's connection until it goes away.
func (s *server) events(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	id := r.URL.Query().Get("clientId")
	_ = wsjson.Write(r.Context(), conn, map[string]any{"type": "status", "data": map[string]any{"sid": id, "status": map[string]any{}}})
	s.mu.Lock()
	s.clients[id] = conn
	s.mu.Unlock()
	s.connected <- id
	_, _, _ = conn.Read(r.Context()) // clients say nothing: this waits until they go
	_ = conn.CloseNow()
	s.gone <- id
}

// tell sends events to a client, a preview before them.
func (s *server) tell(t *testing.T, client string, events ...map[string]any) {
	s.mu.Lock()
	conn := s.clients[client]
	s.mu.Unlock()
	_ = conn.Write(t.Context(), websocket.MessageBinary, []byte{0, 0, 0, 1, 0xff, 0xd8})
	for _, event := range events {
		_ = wsjson.Write(t.Context(), conn, event)
	}
}

func request(feature tasks.Feature, input map[string]any) providers.Request {
	return providers.Request{JobID: "job_1", ClientID: "job_1-1", Submission: 1, Feature: feature, Input: input}
}

// life submits a picture and returns what polls and cancels it.
func life(t *testing.T, s *server) (*Provider, providers.Ref) {
	t.Helper()
	p := at(t, s.URL)
	st, err := p.Submit(t.Context(), request(tasks.TextToImage, map[string]any{"prompt": "a kite"}))
	require.NoError(t, err)
	require.Equal(t, providers.Queued, st.State)
	return p, providers.Ref{RemoteID: st.RemoteID, ClientID: "job_1-1", Feature: tasks.TextToImage}
}

func poll(t *testing.T, p *Provider, ref providers.Ref) providers.Status {
	t.Helper()
	st, err := p.Poll(t.Context(), ref)
	require.NoError(t, err)
	return st
}

// TestLife follows a prompt behind another through the queue, its run with
// progress by WebSocket, and its files.
func TestLife(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	other := at(t, s.URL)
	req := request(tasks.TextToImage, map[string]any{"prompt": "a boat"})
	req.ClientID = "job_0-1"
	_, err := other.Submit(t.Context(), req)
	require.NoError(t, err)
	p, ref := life(t, s)
	require.Equal(t, promptID("job_1-1"), ref.RemoteID, "the id is ours")
	st := poll(t, p, ref)
	require.Equal(t, providers.Queued, st.State)
	require.Equal(t, 1, *st.QueuePosition)

	s.next()
	s.end("success", map[string]any{})
	s.next()
	done := make(chan providers.Status, 1)
	go func() {
		st, _ := p.Poll(t.Context(), ref)
		done <- st
	}()
	client := <-s.connected
	require.Equal(t, ref.RemoteID, client, "the events of this prompt, and of no other")
	s.tell(t, client,
		map[string]any{"type": "executing", "data": map[string]any{"node": "3", "prompt_id": ref.RemoteID}},
		map[string]any{"type": "progress", "data": map[string]any{"value": 19, "max": 20, "node": "3", "prompt_id": "another"}},
		map[string]any{"type": "progress", "data": map[string]any{"value": 5, "max": 20, "node": "3", "prompt_id": ref.RemoteID}},
	)
	st = <-done
	require.Equal(t, providers.Running, st.State)
	require.InDelta(t, 25, *st.Percent, 0)
	require.Equal(t, "node 3, step 5 of 20", st.Message)
	select {
	case id := <-s.gone:
		require.Equal(t, client, id)
	case <-time.After(20 * time.Second):
		t.Fatal("the connection outlives the poll")
	}

	file := func(name, kind string) map[string]any {
		return map[string]any{"filename": name, "subfolder": "a b", "type": kind}
	}
	s.end("success", map[string]any{
		"12": map[string]any{"images": []any{file("film.mp4", "output")}, "animated": []any{true}},
		"9":  map[string]any{"images": []any{file("one.png", "output"), file("preview.png", "temp")}},
		"15": map[string]any{"audio": []any{file("song.flac", "output")}, "text": []any{"seen"}},
	})
	st = poll(t, p, ref)
	require.Equal(t, providers.Succeeded, st.State)
	var got []string
	for _, out := range st.Outputs {
		got = append(got, out.Kind+" "+out.MediaType+" "+out.Name)
	}
	require.Equal(t, []string{"image image/png one.png", "video video/mp4 film.mp4", "audio audio/flac song.flac"}, got, "in the order of the nodes, without previews")
	require.Equal(t, s.URL+"/view?filename=one.png&subfolder=a+b&type=output", st.Outputs[0].URL)
}

// TestPollWithoutEvents polls a prompt whose server tells nothing, and one that
// has no events at all: nothing waits for long, and nothing is left behind.
func TestPollWithoutEvents(t *testing.T) {
	s := newServer(t)
	p, ref := life(t, s)
	s.next()
	before := goleak.IgnoreCurrent()
	st := poll(t, p, ref)
	require.Equal(t, providers.Running, st.State)
	require.Nil(t, st.Percent, "not told is not nothing")
	p.client.CloseIdleConnections()
	require.NoError(t, goleak.Find(before, goleak.IgnoreAnyFunction("net/http.(*conn).serve"), goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead")))

	double := providertest.NewDouble(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/queue":
			providertest.MustReply(t, os.DirFS("testdata"), "queue.http").ServeHTTP(w, r)
		case "/ws":
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		default:
			_, _ = w.Write([]byte("{}"))
		}
	})
	require.Equal(t, providers.Running, poll(t, at(t, double.URL), ref).State)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, ref := life(t, s)
	require.NoError(t, p.Cancel(t.Context(), ref))
	require.Empty(t, s.pending, "it waits no longer")
	require.NoError(t, p.Cancel(t.Context(), ref), "again")
	require.Empty(t, s.interrupted, "what does not run is not interrupted: another may run")

	p, ref = life(t, s)
	s.next()
	require.NoError(t, p.Cancel(t.Context(), ref))
	require.Equal(t, []string{ref.RemoteID}, s.interrupted)
	require.Equal(t, providers.Canceled, poll(t, p, ref).State)
}

func TestFind(t *testing.T) {
	t.Parallel()
	find := func(s *server) (providers.Status, error) {
		return at(t, s.URL).Find(t.Context(), providers.Lost{Request: request(tasks.TextToImage, map[string]any{"prompt": "a kite"})})
	}
	for _, old := range []bool{false, true} {
		s := newServer(t)
		s.ownIDs = old
		_, err := find(s)
		require.ErrorIs(t, err, providers.ErrAbsent)
		_, ref := life(t, s)
		st, err := find(s)
		require.NoError(t, err)
		require.Equal(t, ref.RemoteID, st.RemoteID)
		s.next()
		s.end("success", map[string]any{"9": map[string]any{"images": []any{map[string]any{"filename": "a.png", "type": "output"}}}})
		st, err = find(s)
		require.NoError(t, err)
		require.Equal(t, providers.Succeeded, st.State)
		require.Equal(t, ref.RemoteID, st.RemoteID)

		s.history = map[string]any{} // it was started again
		_, err = find(s)
		require.ErrorIs(t, err, providers.ErrAbsent)
		_, err = at(t, s.URL).Poll(t.Context(), ref)
		require.Equal(t, classify.NotFound, classify.Classify(err).Class)
	}
}

// submitted is the graph that a request becomes.
func submitted(t *testing.T, req providers.Request) (map[string]map[string]any, *server) {
	t.Helper()
	s := newServer(t)
	_, err := at(t, s.URL).Submit(t.Context(), req)
	require.NoError(t, err)
	graph := map[string]map[string]any{}
	for id, n := range s.pending[0][2].(map[string]any) {
		graph[id] = n.(map[string]any)["inputs"].(map[string]any)
	}
	return graph, s
}

func TestGraphsAreFilledIn(t *testing.T) {
	t.Parallel()
	req := request(tasks.TextToImage, map[string]any{"prompt": `a "kite", {negative_prompt} {model}`, "steps": 30.0, "seed": 7.0})
	req.Model = "xl"
	graph, _ := submitted(t, req)
	require.Equal(t, `best quality, a "kite", {negative_prompt} {model}`, graph["6"]["text"], "a value is no template")
	require.Equal(t, "blurry", graph["7"]["text"])
	require.InDelta(t, 30, graph["3"]["steps"], 0, "a number stays one")
	require.InDelta(t, 7, graph["3"]["seed"], 0)
	require.Equal(t, "sd_xl.safetensors", graph["4"]["ckpt_name"])
	require.Equal(t, []any{"4", 0.0}, graph["3"]["model"], "links stay as they are")

	graph, _ = submitted(t, request(tasks.TextToImage, map[string]any{"prompt": "x"}))
	require.Equal(t, "v1-5-pruned.safetensors", graph["4"]["ckpt_name"], "the first model is the default")
	first := graph["3"]["seed"]
	req = request(tasks.TextToImage, map[string]any{"prompt": "x"})
	req.ClientID = "job_2-1"
	graph, _ = submitted(t, req)
	require.NotEqual(t, first, graph["3"]["seed"], "each attempt has another seed, or it comes from the cache")
}

func TestFilesAreUploaded(t *testing.T) {
	t.Parallel()
	req := request(tasks.ImageToImage, map[string]any{"image": map[string]any{"$file": 0.0}})
	req.Files = []providers.File{{Pointer: "/image", MediaType: "image/png", Data: []byte("\x89PNG\r\n\x1a\n")}}
	graph, s := submitted(t, req)
	name := "easel/" + promptID("job_1-1") + "-image.png"
	require.Equal(t, []string{name}, s.uploads)
	require.Equal(t, name, graph["1"]["image"])

	p := at(t, s.URL)
	req.Files[0].MediaType = "image/gif"
	_, err := p.Submit(t.Context(), req)
	require.Equal(t, "/input_data/image", classify.Classify(err).Field)
	_, err = p.Submit(t.Context(), request(tasks.ImageToImage, map[string]any{"image": "https://example.com/a.png"}))
	require.Equal(t, "/input_data/image", classify.Classify(err).Field)

	// An upload that fails has bought nothing.
	double := providertest.NewDouble(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	req.Files[0].MediaType = "image/png"
	_, err = at(t, double.URL).Submit(t.Context(), req)
	require.Equal(t, classify.Network, classify.Classify(err).Class, "%v", err)
	require.Len(t, double.Requests(), 1)
}

func TestOnlyWhatIsDeclared(t *testing.T) {
	t.Parallel()
	p := at(t, "http://127.0.0.1:1")
	check := func(feature tasks.Feature, model string, input map[string]any) string {
		return classify.Classify(p.CheckInput(feature, model, input)).Field
	}
	good := func(key string, value any) map[string]any { return map[string]any{"prompt": "x", key: value} }
	require.Empty(t, check(tasks.TextToImage, "xl", good("steps", 5.0)))
	require.Equal(t, "/input_data/graph", check(tasks.TextToImage, "", good("graph", map[string]any{})))
	require.Equal(t, "/input_data/workflow", check(tasks.TextToImage, "", good("workflow", "{}")))
	require.Equal(t, "/input_data/steps", check(tasks.TextToImage, "", good("steps", 1000.0)))
	require.Equal(t, "/input_data/prompt", check(tasks.TextToImage, "", nil))
	require.Equal(t, "/model", check(tasks.TextToImage, "huge", good("steps", 5.0)))
	require.Equal(t, "/feature_type", check(tasks.TextToVideo, "", nil))
}

func TestProblems(t *testing.T) {
	t.Parallel()
	_, err := New(Config{BaseURL: "127.0.0.1", Workflows: []Workflow{
		{Graph: `{"1":{"class_type":"A","inputs":{"text":"{prompt} {nobody}","filename_prefix":"{prompt}","x":"{model}","y":"{size}"}}}`, Input: providers.Declarations{
			{Name: "prompt", Required: true}, {Name: "size"}, {Name: "idle", Default: "x"},
		}},
		{Feature: "upscale", Graph: `{"nodes":[]}`},
		{Feature: "upscale", GraphFile: "testdata/none.json"},
		{Feature: "a", Graph: `[]`, GraphFile: "x"},
		{Feature: "b", Graph: `{"1":{"class_type":"A"}}`, Models: providers.DeclaredModels{{Name: "m"}}},
	}})
	for _, want := range []string{
		"base_url", "workflows[0].feature: is missing", "workflows[0].graph: node 1, text: {nobody} is not declared",
		"workflows[0].graph: node 1, filename_prefix: {prompt} would be part of a path", "node 1, x: {model} needs models",
		"node 1, y: {size} may be missing", "workflows[0].input[2]: {idle} stands nowhere", "workflows[1].graph: is not a graph in API format",
		"workflows[2].feature: there is a workflow for it already", "workflows[2].graph_file: open testdata/none.json",
		"workflows[3].graph: one of graph and graph_file is needed", "workflows[4].models: {model} stands nowhere",
	} {
		require.ErrorContains(t, err, want)
	}
	_, err = Open(providers.Settings{Options: map[string]any{"graphs": 1}})
	require.ErrorContains(t, err, "options: graphs")
	_, err = Open(providers.Settings{})
	require.ErrorContains(t, err, "options: workflows: is empty")
}

func TestFailures(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, ref := life(t, s)
	s.next()
	s.end("error", map[string]any{}, []any{"execution_error", map[string]any{
		"node_type": "CheckpointLoaderSimple", "exception_type": "builtins.FileNotFoundError", "exception_message": "no such model\n",
	}}, "noise", []any{1})
	st := poll(t, p, ref)
	require.Equal(t, providers.Failed, st.State)
	require.Equal(t, "FileNotFoundError", st.Failure.Code)
	require.Equal(t, "CheckpointLoaderSimple: no such model", st.Failure.Message)

	s.history = map[string]any{}
	p, ref = life(t, s)
	s.next()
	s.end("success", map[string]any{"9": map[string]any{"text": []any{"nothing to see"}}})
	require.Equal(t, "no_output", poll(t, p, ref).Failure.Code)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Find(ctx, providers.Lost{Request: request(tasks.TextToImage, nil)})
	require.False(t, errors.Is(err, providers.ErrAbsent))
	require.True(t, strings.Count(ref.RemoteID, "-") == 4)
}
