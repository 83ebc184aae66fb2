package comfyui

import (
	"encoding/json"
	"strings"

	"github.com/easel-jobs/easel/pkg/classify"
)

type promptRequest struct {
	Prompt   map[string]node `json:"prompt"`
	ClientID string          `json:"client_id"`
	PromptID string          `json:"prompt_id"`
}

type promptReply struct {
	PromptID string `json:"prompt_id"`
}

type uploadReply struct {
	Name      string `json:"name"`
	Subfolder string `json:"subfolder"`
}

// queue is what waits and what runs.
type queue struct {
	Running *[]queued `json:"queue_running"`
	Pending *[]queued `json:"queue_pending"`
}

// queued is a list of number, prompt id, graph, extra data and outputs.
type queued struct {
	Number   float64
	PromptID string
	ClientID string
}

// UnmarshalJSON reads the list.
func (q *queued) UnmarshalJSON(raw []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		return err
	}
	var extra struct {
		ClientID string `json:"client_id"`
	}
	for i, into := range []any{&q.Number, &q.PromptID, nil, &extra} {
		if into != nil && i < len(parts) {
			if err := json.Unmarshal(parts[i], into); err != nil {
				return err
			}
		}
	}
	q.ClientID = extra.ClientID
	return nil
}

// finished is an entry of the history.
type finished struct {
	Prompt  queued            `json:"prompt"`
	Outputs map[string]output `json:"outputs"` // by node
	Status  *struct {
		Text     string            `json:"status_str"`
		Messages []json.RawMessage `json:"messages"`
	} `json:"status"`
}

// output is what one node has made, by kind.
type output map[string]json.RawMessage

// file is one made file.
type file struct {
	Name      string `json:"filename"`
	Subfolder string `json:"subfolder"`
	Type      string `json:"type"` // output, temp or input
}

// message is what happened on the way: a list of its name and its data.
type message struct {
	name  string
	Type  string `json:"exception_type"`
	Text  string `json:"exception_message"`
	Class string `json:"node_type"`
}

func (f finished) message(name string) *message {
	for _, raw := range f.Status.Messages {
		var parts []json.RawMessage
		m := message{}
		if json.Unmarshal(raw, &parts) != nil || len(parts) < 2 || json.Unmarshal(parts[0], &m.name) != nil || m.name != name {
			continue
		}
		if json.Unmarshal(parts[1], &m) == nil {
			return &m
		}
	}
	return nil
}

// code is the exception's name as ours are written: out_of_memory_error.
func (m *message) code() string {
	if strings.Contains(m.Type, "OutOfMemory") {
		return "out_of_memory"
	}
	return m.Type[strings.LastIndexByte(m.Type, '.')+1:]
}

// classes says what the types of ComfyUI's errors mean, where the status does
// not. An exception of a node is a generation that failed.
var classes = map[string]classify.Class{
	"prompt_outputs_failed_validation": classify.Validation,
	"prompt_no_outputs":                classify.Validation,
	"invalid_prompt":                   classify.Validation,
	"no_prompt":                        classify.Validation,
	"missing_node_type":                classify.NotFound, // an extension that the server does not have
}
