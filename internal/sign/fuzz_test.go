package sign

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzLinks forges signed links and webhook tokens: only what was made for the
// very path, time and submission is let in.
func FuzzLinks(f *testing.F) {
	signer, err := New([]byte("a secret that is long enough"))
	require.NoError(f, err)
	now := time.Unix(1_764_000_000, 0)
	for _, path := range []string{"/v1/jobs/job_1/artifacts/0", "", "/", "/v1/jobs/../x", "/a?b"} {
		f.Add(path, signer.Link(path, now.Add(time.Hour)).Encode(), "job_1", 1)
		f.Add(path, "expires=0&signature=", "job_1", -1)
	}
	f.Fuzz(func(t *testing.T, path, query, job string, submission int) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		if signer.VerifyLink(path, values, now) == nil {
			require.Equal(t, signer.sign(purposeLink, path, values.Get(ParamExpires)), values.Get(ParamSignature), "it was forged")
		}
		link := signer.Link(path, now.Add(time.Hour))
		require.NoError(t, signer.VerifyLink(path, link, now))
		require.ErrorIs(t, signer.VerifyLink(path+"0", link, now), ErrLinkInvalid)
		require.ErrorIs(t, signer.VerifyLink(path, link, now.Add(2*time.Hour)), ErrLinkExpired)
		token := signer.Token(job, submission)
		require.True(t, signer.Verify(job, submission, token))
		require.False(t, signer.Verify(job, submission+1, token))
		require.False(t, signer.Verify(job+"1", submission, token), "ids and numbers are apart")
		require.Equal(t, query == token, signer.Verify(job, submission, query))
	})
}
