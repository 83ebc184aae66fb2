package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/hibiken/asynqmon"
	"go.uber.org/zap"
)

// queuesPath is where asynqmon lives.
const queuesPath = "/queues"

// maxPageSize bounds how many tasks asynqmon lists at once.
const maxPageSize = 200

// queues is asynqmon as we serve it: its reads pass through, with repairs; its
// actions go to the actions of this package; its page is made to work without
// internet and under a strict content security policy.
type queues struct {
	Config
	asynqmon  http.Handler
	inspector *asynq.Inspector
}

func newQueues(cfg Config) *queues {
	return &queues{
		Config: cfg,
		asynqmon: asynqmon.New(asynqmon.Options{
			RootPath:         queuesPath,
			RedisConnOpt:     cfg.Redis,
			PayloadFormatter: asynqmon.PayloadFormatterFunc(formatPayload),
			ResultFormatter:  asynqmon.ResultFormatterFunc(formatPayload),
		}),
		inspector: asynq.NewInspector(cfg.Redis),
	}
}

// ServeHTTP answers a request below [queuesPath]. Nothing that may change
// something reaches asynqmon except what serveAction lets through.
func (q *queues) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	api := strings.HasPrefix(r.URL.Path, queuesPath+"/api/")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		q.serveAction(w, r)
	case api:
		q.serveRead(w, r)
	case strings.HasPrefix(r.URL.Path, queuesPath+"/static/"):
		// These files have a hash in their names.
		w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
		q.asynqmon.ServeHTTP(w, r)
	default:
		q.servePage(w, r)
	}
}

// serveRead lets asynqmon read. asynq v0.26 fails to describe a queue one of
// whose listed tasks is missing; then the lists are repaired and the read is
// tried again, once.
func (q *queues) serveRead(w http.ResponseWriter, r *http.Request) {
	r = boundPage(r)
	answer := capture(q.asynqmon, r)
	if answer.ghost() && q.RepairGhosts != nil {
		n, err := q.RepairGhosts(r.Context())
		if err != nil {
			q.Logger.Error("repairing asynq's lists failed", zap.Error(err))
		} else {
			q.Logger.Warn("removed ids of missing tasks from asynq's lists", zap.Int("ids", n))
			answer = capture(q.asynqmon, r)
		}
	}
	if answer.status < 300 {
		answer.header.Set("Content-Type", "application/json")
	}
	answer.send(w)
}

// boundPage keeps a query from listing everything at once.
func boundPage(r *http.Request) *http.Request {
	query := r.URL.Query()
	size, err := strconv.Atoi(query.Get("size"))
	if err != nil || size <= maxPageSize {
		return r
	}
	query.Set("size", strconv.Itoa(maxPageSize))
	r = r.Clone(r.Context())
	r.URL.RawQuery = query.Encode()
	return r
}

// servePage serves a file of asynqmon's, or its page rewritten: without the
// fonts of fonts.googleapis.com and with nonces for its scripts and styles.
func (q *queues) servePage(w http.ResponseWriter, r *http.Request) {
	answer := capture(q.asynqmon, r)
	if answer.status == http.StatusOK && bytes.HasPrefix(answer.body.Bytes(), []byte("<!doctype html>")) {
		nonce := newKey()
		answer.body = bytes.NewBuffer(rewritePage(answer.body.Bytes(), nonce, q.Password != ""))
		answer.header.Set("Content-Type", "text/html; charset=utf-8")
		answer.header.Set("Content-Security-Policy", queuesPolicy(nonce))
	}
	answer.send(w)
}

// queuesPolicy is [pagePolicy] with room for what asynqmon's page does: one
// inline script, and styles that its components insert, both by nonce.
func queuesPolicy(nonce string) string {
	return fmt.Sprintf("default-src 'none'; script-src 'self' 'nonce-%[1]s'; style-src 'self' 'nonce-%[1]s'; "+
		"font-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "+
		"frame-ancestors 'none'", nonce)
}

// rewritePage edits asynqmon's bundled page. What it looks for is that of
// asynqmon v0.7.2; a test notices when another version differs.
func rewritePage(page []byte, nonce string, login bool) []byte {
	html := string(page)
	for _, tag := range outsideTags {
		html = strings.ReplaceAll(html, tag, "")
	}
	html = strings.ReplaceAll(html, "<script>", `<script nonce="`+nonce+`">`)
	// The page's style library (JSS) looks here for its nonce.
	html = strings.Replace(html, "</head>", `<meta property="csp-nonce" content="`+nonce+`">`+
		`<link rel="stylesheet" href="/assets/roboto.css"><link rel="stylesheet" href="/assets/asynqmon.css">`+
		`<script src="/assets/asynqmon.js" defer></script></head>`, 1)
	html = strings.Replace(html, "<title>Asynq - Monitoring</title>", "<title>Queues · Easel</title>", 1)
	return []byte(strings.Replace(html, `<div id="root">`, queuesBar(login)+`<div id="root">`, 1))
}

// outsideTags are what the bundled page loads from elsewhere, and the manifest,
// which a browser asks for without our cookie. Its icons are drawings in its
// scripts, so that the icon font is not missed.
var outsideTags = []string{
	`<link rel="stylesheet" href="https://fonts.googleapis.com/css?family=Roboto:300,400,500,700&display=swap"/>`,
	`<link rel="stylesheet" href="https://fonts.googleapis.com/icon?family=Material+Icons"/>`,
	`<link rel="manifest" href="` + queuesPath + `/manifest.json"/>`,
}

// queuesBar leads from asynqmon's page back to ours.
func queuesBar(login bool) string {
	bar := `<nav class="easel-bar" aria-label="Easel"><a href="/">Overview</a><a href="/jobs">Jobs</a>`
	if login {
		bar += `<form method="post" action="/logout"><button>Sign out</button></form>`
	}
	return bar + `</nav>`
}

// formatPayload shows what a task carries: JSON as it is, since the page indents
// it, and of anything else only how much there is.
func formatPayload(_ string, payload []byte) string {
	switch {
	case len(payload) == 0:
		return ""
	case json.Valid(payload):
		return string(payload)
	default:
		return fmt.Sprintf("%d bytes that are not JSON", len(payload))
	}
}

// answer is what a handler wrote, kept to be looked at before it is sent.
type answer struct {
	status int
	header http.Header
	body   *bytes.Buffer
}

func capture(h http.Handler, r *http.Request) *answer {
	a := &answer{status: http.StatusOK, header: http.Header{}, body: new(bytes.Buffer)}
	h.ServeHTTP(a, r)
	return a
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// ghost reports whether asynq stumbled over a listed task that does not exist.
func (a *answer) ghost() bool {
	return a.status == http.StatusInternalServerError &&
		bytes.Contains(a.body.Bytes(), []byte("attempt to perform arithmetic"))
}

func (a *answer) send(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	// A failure here is the reader's having gone away.
	_, _ = a.body.WriteTo(w)
}
