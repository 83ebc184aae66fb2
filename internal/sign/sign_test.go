package sign

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	oldSecret = []byte(strings.Repeat("o", 32))
	newSecret = []byte(strings.Repeat("n", 32))
)

func signer(t *testing.T, secrets ...[]byte) *Signer {
	t.Helper()
	s, err := New(secrets...)
	require.NoError(t, err)
	return s
}

func TestNewRefusesWeakSecrets(t *testing.T) {
	t.Parallel()
	_, err := New()
	require.Error(t, err)
	_, err = New(newSecret, []byte("hunter2"))
	require.ErrorContains(t, err, "secret 2")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestToken(t *testing.T) {
	t.Parallel()
	s := signer(t, newSecret)
	token := s.Token("job_1", 2)
	require.Equal(t, url.PathEscape(token), token, "it stands in a path")
	require.Equal(t, token, s.Token("job_1", 2), "it is stable")

	tests := []struct {
		name       string
		token      string
		job        string
		submission int
		want       bool
	}{
		{"the same", token, "job_1", 2, true},
		{"another job", token, "job_2", 2, false},
		{"another submission", token, "job_1", 3, false},
		{"digits moved over", s.Token("job_12", 1), "job_1", 21, false},
		{"cut short", token[:20], "job_1", 2, false},
		{"empty", "", "job_1", 2, false},
		{"no base64", "!!!!", "job_1", 2, false},
		{"another server", signer(t, oldSecret).Token("job_1", 2), "job_1", 2, false},
		{"a link's signature", s.Link("job_1", time.Unix(2, 0)).Get(ParamSignature), "job_1", 2, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, s.Verify(tt.job, tt.submission, tt.token))
		})
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	before, during, after := signer(t, oldSecret), signer(t, newSecret, oldSecret), signer(t, newSecret)

	require.True(t, during.Verify("job_1", 1, before.Token("job_1", 1)), "old ones are still good")
	require.True(t, after.Verify("job_1", 1, during.Token("job_1", 1)), "new ones are made with the new secret")
	require.False(t, after.Verify("job_1", 1, before.Token("job_1", 1)))
}

func TestLink(t *testing.T) {
	t.Parallel()
	s := signer(t, newSecret)
	expires := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	query := s.Link("/v1/jobs/job_1/artifacts/0", expires)
	changed := func(key, value string) url.Values {
		return url.Values{ParamExpires: query[ParamExpires], ParamSignature: query[ParamSignature], key: {value}}
	}

	tests := []struct {
		name  string
		path  string
		query url.Values
		now   time.Time
		want  error
	}{
		{"good", "/v1/jobs/job_1/artifacts/0", query, expires.Add(-time.Second), nil},
		{"expired", "/v1/jobs/job_1/artifacts/0", query, expires, ErrLinkExpired},
		{"another path", "/v1/jobs/job_1/artifacts/1", query, expires.Add(-time.Hour), ErrLinkInvalid},
		{"prolonged", "/v1/jobs/job_1/artifacts/0", changed(ParamExpires, "9999999999"), expires, ErrLinkInvalid},
		{"forged", "/v1/jobs/job_1/artifacts/0", changed(ParamSignature, "AAAA"), expires.Add(-time.Hour), ErrLinkInvalid},
		{"unsigned", "/v1/jobs/job_1/artifacts/0", url.Values{}, expires, ErrLinkInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.ErrorIs(t, s.VerifyLink(tt.path, tt.query, tt.now), tt.want)
		})
	}
}
