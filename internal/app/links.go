package app

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/easel-jobs/easel/internal/sign"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// links makes the URLs that callers see: absolute when the public URL is known,
// and signed for a time, so that browsers and webhook receivers can open
// artifacts without a key. Whether the API asks for one is not known here: its
// keys change while it runs, and the worker that tells of a job need not have
// them.
type links struct {
	publicURL string
	signer    *sign.Signer
	signed    bool // false where the secret is not known
	ttl       time.Duration
	now       func() time.Time
}

// reachable reports whether somebody outside can be sent to the public URL. On
// this machine plain http does, for providers that run here.
func (l *links) reachable() bool {
	u, err := url.Parse(l.publicURL)
	if err != nil || u.Hostname() == "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && loopback(net.JoinHostPort(u.Hostname(), "0"))
}

// Job implements [tasks.Links].
func (l *links) Job(id string) string { return l.publicURL + "/v1/jobs/" + id }

// Artifact implements [tasks.Links].
func (l *links) Artifact(j *tasks.Job, index int) (string, time.Time) {
	path := fmt.Sprintf("/v1/jobs/%s/artifacts/%d", j.ID, index)
	if !l.signed {
		return l.publicURL + path, time.Time{}
	}
	expires := l.now().Add(l.ttl).Truncate(time.Second)
	return l.publicURL + path + "?" + l.signer.Link(path, expires).Encode(), expires
}

// Input implements [orchestrator.InputLinks].
func (l *links) Input(jobID string, index int, until time.Time) string {
	path := fmt.Sprintf("/v1/jobs/%s/inputs/%d", jobID, index)
	return l.publicURL + path + "?" + l.signer.Link(path, until).Encode()
}

// verify reports whether the request carries a signature of ours for its path
// that is still valid. Which operations a signature opens says the API.
func (l *links) verify(r *http.Request) bool {
	return l.signer.VerifyLink(r.URL.Path, r.URL.Query(), l.now()) == nil
}
