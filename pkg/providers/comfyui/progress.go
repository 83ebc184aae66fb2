package comfyui

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/easel-jobs/easel/pkg/providers"
)

const (
	// listening is how long one poll listens to the server's events. A sampler
	// tells each of its steps.
	listening = time.Second
	maxEvent  = 4 << 20 // previews come the same way
)

// event is what the server tells its clients.
type event struct {
	Type string `json:"type"`
	Data struct {
		PromptID string  `json:"prompt_id"`
		Node     string  `json:"node"`
		Value    float64 `json:"value"`
		Max      float64 `json:"max"`
	} `json:"data"`
}

// listen adds how far the running node is, if the server says so within a
// moment. That it does not is no failure: progress is all that is missed.
func (p *Provider) listen(ctx context.Context, clientID string, st *providers.Status) {
	ctx, cancel := context.WithTimeout(ctx, listening)
	defer cancel()
	address := "ws" + strings.TrimPrefix(strings.TrimSuffix(p.config.BaseURL, "/"), "http") + "/ws?" + url.Values{"clientId": {clientID}}.Encode()
	header := &http.Request{Header: http.Header{}}
	p.config.authorize(header)
	conn, reply, err := websocket.Dial(ctx, address, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: p.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		HTTPHeader: header.Header,
	})
	if reply != nil && reply.Body != nil {
		_ = reply.Body.Close() // it has none once the connection is up
	}
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }() // nobody waits for the other side
	conn.SetReadLimit(maxEvent)
	for {
		kind, raw, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var e event
		if kind != websocket.MessageText || json.Unmarshal(raw, &e) != nil || e.Data.PromptID != st.RemoteID {
			continue
		}
		if e.Type == "progress" && e.Data.Max > 0 && e.Data.Value >= 0 && e.Data.Value <= e.Data.Max {
			percent := e.Data.Value / e.Data.Max * 100
			st.Percent, st.Message = &percent, fmt.Sprintf("node %s, step %.0f of %.0f", e.Data.Node, e.Data.Value, e.Data.Max)
			return
		}
	}
}
