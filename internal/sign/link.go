package sign

import (
	"errors"
	"net/url"
	"strconv"
	"time"
)

const purposeLink = "easel artifact link v1"

// The query parameters of a signed link.
const (
	ParamExpires   = "expires"
	ParamSignature = "signature"
)

// What is wrong with a link.
var (
	ErrLinkInvalid = errors.New("link is not signed by this server")
	ErrLinkExpired = errors.New("link has expired")
)

// Link returns the query that lets whoever has it read path until expires. The
// path is signed as it is written, beginning with a slash and without host.
func (s *Signer) Link(path string, expires time.Time) url.Values {
	at := strconv.FormatInt(expires.Unix(), 10)
	return url.Values{ParamExpires: {at}, ParamSignature: {s.sign(purposeLink, path, at)}}
}

// VerifyLink checks a link that a request carries. The signature is checked
// before the time: only who has a real link learns that it has expired.
func (s *Signer) VerifyLink(path string, query url.Values, now time.Time) error {
	at := query.Get(ParamExpires)
	if !s.verify(query.Get(ParamSignature), purposeLink, path, at) {
		return ErrLinkInvalid
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return ErrLinkInvalid
	}
	if !now.Before(time.Unix(seconds, 0)) {
		return ErrLinkExpired
	}
	return nil
}
