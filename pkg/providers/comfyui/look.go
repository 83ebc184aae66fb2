package comfyui

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
)

// states says what each end of a prompt means to us.
var states = map[string]providers.State{
	"success": providers.Succeeded,
	"error":   providers.Failed,
}

// Poll implements [providers.Provider].
func (p *Provider) Poll(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	st, known, err := p.look(ctx, ref.RemoteID, promptID(ref.ClientID))
	if err != nil {
		return providers.Status{}, err
	}
	if !known {
		return providers.Status{}, &classify.Error{
			Class: classify.NotFound, Provider: p.config.Name, Code: "gone", Message: "neither the queue nor the history has the prompt; the server was perhaps started again",
		}
	}
	if st.State == providers.Running {
		p.listen(ctx, promptID(ref.ClientID), &st)
	}
	return st, nil
}

// Find implements [providers.Finder]. What stands neither in the queue nor in
// the history does not run: the server keeps both from the moment it accepts, and
// loses both when it is started again.
func (p *Provider) Find(ctx context.Context, lost providers.Lost) (providers.Status, error) {
	id := promptID(lost.Request.ClientID)
	st, known, err := p.look(ctx, id, id)
	if err == nil && !known {
		err = providers.ErrAbsent
	}
	return st, err
}

// ListLag implements [providers.Finder].
func (p *Provider) ListLag() time.Duration { return 5 * time.Second }

// recent is how much of the history is read to find what ended just now, or ran
// at a server that gives ids of its own.
const recent = "64"

// look finds a prompt: in the history by its id, in the queue, and once more in
// the end of the history, where it may have come meanwhile.
func (p *Provider) look(ctx context.Context, id, clientID string) (st providers.Status, known bool, err error) {
	history, err := p.history(ctx, "/history/"+url.PathEscape(id), nil)
	if err != nil {
		return st, false, err
	}
	if entry, ok := history[id]; ok {
		st, err = p.ended(id, entry)
		return st, true, err
	}
	q, err := p.queue(ctx)
	if err != nil {
		return st, false, err
	}
	if st, ok := q.find(id, clientID); ok {
		return st, true, nil
	}
	if history, err = p.history(ctx, "/history", url.Values{"max_items": {recent}}); err != nil {
		return st, false, err
	}
	for key, entry := range history {
		if key == id || entry.Prompt.ClientID == clientID {
			st, err = p.ended(key, entry)
			return st, true, err
		}
	}
	return st, false, nil
}

func (p *Provider) history(ctx context.Context, address string, query url.Values) (map[string]finished, error) {
	var history map[string]finished
	reply, err := p.client.JSON(ctx, providers.Call{URL: address, Query: query}, nil, &history)
	if err == nil && bytes.Equal(bytes.TrimSpace(reply.Body), []byte("null")) {
		err = p.client.Strange(false, "the answer has no history")
	}
	return history, err
}

func (p *Provider) queue(ctx context.Context) (queue, error) {
	var q queue
	_, err := p.client.JSON(ctx, providers.Call{URL: "/queue"}, nil, &q)
	if err == nil && (q.Running == nil || q.Pending == nil) {
		err = p.client.Strange(false, "the answer has no queue")
	}
	return q, err
}

// find is the state of a prompt that has not ended.
func (q queue) find(id, clientID string) (providers.Status, bool) {
	mine := func(one queued) bool { return one.PromptID == id || one.ClientID == clientID }
	if i := slices.IndexFunc(*q.Running, mine); i >= 0 {
		return providers.Status{State: providers.Running, RemoteID: (*q.Running)[i].PromptID}, true
	}
	i := slices.IndexFunc(*q.Pending, mine)
	if i < 0 {
		return providers.Status{}, false
	}
	one := (*q.Pending)[i]
	before := len(*q.Running) // the list is not in order
	for _, other := range *q.Pending {
		if other.Number < one.Number {
			before++
		}
	}
	return providers.Status{State: providers.Queued, RemoteID: one.PromptID, QueuePosition: &before}, true
}

// ended is the state of a prompt that stands in the history.
func (p *Provider) ended(id string, entry finished) (providers.Status, error) {
	st := providers.Status{RemoteID: id}
	if entry.Status == nil {
		return st, p.client.Strange(false, "the history does not say how the prompt ended")
	}
	var known bool
	if st.State, known = states[entry.Status.Text]; !known {
		return st, p.client.Strange(false, "the prompt ended in a state that is not known")
	}
	if st.State == providers.Failed {
		if entry.message("execution_interrupted") != nil {
			st.State = providers.Canceled
			return st, nil
		}
		st.Failure = p.client.Failed("", "")
		if m := entry.message("execution_error"); m != nil {
			st.Failure = p.client.Failed(m.code(), strings.TrimSpace(m.Class+": "+m.Text))
		}
		return st, nil
	}
	p.collect(&st, entry)
	if len(st.Outputs) == 0 {
		st.State, st.Failure = providers.Failed, p.client.Failed("no_output", "the graph has left no file")
	}
	return st, nil
}

// collect lists the files that the nodes have left, in the order of the nodes.
// Previews count only where there is nothing else.
func (p *Provider) collect(st *providers.Status, entry finished) {
	var previews []providers.Output
	nodes := slices.SortedFunc(maps.Keys(entry.Outputs), func(a, b string) int {
		x, _ := strconv.Atoi(a) // inner nodes of groups are called 3:1
		y, _ := strconv.Atoi(b)
		return cmp.Or(x-y, strings.Compare(a, b))
	})
	for _, id := range nodes {
		for _, kind := range slices.Sorted(maps.Keys(entry.Outputs[id])) {
			var files []file
			if json.Unmarshal(entry.Outputs[id][kind], &files) != nil {
				continue // texts and flags
			}
			for _, f := range files {
				switch {
				case f.Name == "" || f.Type == "input":
				case f.Type == "temp":
					previews = append(previews, p.outputOf(kind, f))
				default:
					st.Outputs = append(st.Outputs, p.outputOf(kind, f))
				}
			}
		}
	}
	if len(st.Outputs) == 0 {
		st.Outputs = previews
	}
}

// kinds are what nodes call what they have made; the names of the files know
// better: films come as images too.
var kinds = map[string]string{"gifs": "video", "video": "video", "videos": "video", "audio": "audio", "images": "image"}

var extensions = map[string]string{
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif",
	".mp4": "video/mp4", ".webm": "video/webm", ".mkv": "video/x-matroska",
	".flac": "audio/flac", ".mp3": "audio/mpeg", ".opus": "audio/ogg", ".wav": "audio/wav",
}

func (p *Provider) outputOf(kind string, f file) providers.Output {
	query := url.Values{"filename": {f.Name}, "subfolder": {f.Subfolder}, "type": {f.Type}}
	out := providers.Output{
		Kind: cmp.Or(kinds[kind], "file"), MediaType: extensions[strings.ToLower(path.Ext(f.Name))], Name: path.Base(f.Name),
		URL: strings.TrimSuffix(p.config.BaseURL, "/") + "/view?" + query.Encode(),
	}
	if class, _, found := strings.Cut(out.MediaType, "/"); found {
		out.Kind = class
	}
	return out
}

// Cancel implements [providers.Canceler]. The queue is read first: older servers
// stop whatever runs, whichever prompt they are told.
func (p *Provider) Cancel(ctx context.Context, ref providers.Ref) error {
	q, err := p.queue(ctx)
	if err != nil {
		return err
	}
	st, waits := q.find(ref.RemoteID, promptID(ref.ClientID))
	switch {
	case !waits:
		return nil
	case st.State == providers.Running:
		_, err = p.client.JSON(ctx, providers.Call{URL: "/interrupt"}, map[string]any{"prompt_id": st.RemoteID}, nil)
	default:
		_, err = p.client.JSON(ctx, providers.Call{URL: "/queue"}, map[string]any{"delete": []string{st.RemoteID}}, nil)
	}
	if classify.Classify(err).Status == http.StatusNotFound {
		return nil // there is nothing of the kind
	}
	return err
}
