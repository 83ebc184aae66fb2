package sign

import "strconv"

const purposeToken = "easel webhook token v1"

// Token is the part of a provider's webhook URL that proves that we made it. It
// belongs to one submission, so that a provider's word about an old one is not
// taken for the current one. It is safe in a URL's path.
func (s *Signer) Token(jobID string, submission int) string {
	return s.sign(purposeToken, jobID, strconv.Itoa(submission))
}

// Verify reports whether the token was made for this submission. It takes the
// same time whether or not it was.
func (s *Signer) Verify(jobID string, submission int, token string) bool {
	return s.verify(token, purposeToken, jobID, strconv.Itoa(submission))
}
