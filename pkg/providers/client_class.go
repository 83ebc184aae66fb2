package providers

import (
	"net/http"
	"strings"

	"github.com/easel-jobs/easel/pkg/classify"
)

// classOf classifies an answer that is no success: by what the decoder made of
// the body, by whether it leaves open what a submit has bought, by the
// provider's code, by the status. Said is nil when the body is
// not of the provider's own making.
func (c *Client) classOf(call Call, status int, said *classify.Error) classify.Class {
	if said != nil && said.Class != "" {
		return said.Class
	}
	if call.Submit && c.config.DoubtServerErrors && ambiguous(status, false) {
		return classify.UnknownOutcome
	}
	if said != nil {
		if class, ok := c.config.Classes[strings.ToLower(said.Code)]; ok && said.Code != "" {
			return class
		}
	}
	if call.Submit && ambiguous(status, said != nil) {
		return classify.UnknownOutcome
	}
	return classify.Classify(&classify.Error{Code: codeOf(said), Status: status}).Class
}

// ambiguous reports whether a status leaves open what became of a submit. A
// gateway says 502, 503 or 504 when it lost the provider, not when the provider
// refused; only the provider's own error body proves that it was asked and
// would not. A 408 may come after the request was read.
func ambiguous(status int, own bool) bool {
	switch {
	case status == http.StatusRequestTimeout:
		return true
	case status == 529: // "site is overloaded" is said at the door
		return false
	default:
		return status >= 500 && !own
	}
}

func codeOf(said *classify.Error) string {
	if said == nil {
		return ""
	}
	return said.Code
}
