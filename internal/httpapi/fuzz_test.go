package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"
)

// FuzzDecodeDraft reads bodies that mean no good. What is let through is what
// was written; what is refused is refused in few words, none of them the body's.
func FuzzDecodeDraft(f *testing.F) {
	for _, seed := range []string{
		sunset, `{}`, `null`, `[]`, `{"feature_type":"a\u0000b","input_data":{}}`, `{"metadata":{"a":1,"b":null},"run_at":"x"}`,
		`{"retry_attempts":1e3,"timeout_ms":-0,"retry_delay_ms":9223372036854775808}`, strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70),
		`{"feature_type":"t","feature_type":"u","input_data":{"a":[[[{"b":"\ud800"}]]]}}`, "{\"a\":\"\xff\"}", `{"":{},"~/ %":1}`,
		`{"fallback_provider_ids":["a",null,{}],"priority":"high","run_at":"2026-01-02T15:04:05Z"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := checkJSON(body); err != nil {
			requireDiscreet(t, body, err)
			return
		}
		require.True(t, json.Valid(body))
		require.LessOrEqual(t, depth(body), maxDepth)
		draft, err := decodeDraft(body)
		if err != nil {
			requireDiscreet(t, body, err)
			return
		}
		for _, name := range []string{string(draft.FeatureType), draft.UserID, draft.ProviderID, draft.Model, draft.WebhookURL} {
			require.False(t, strings.ContainsFunc(name, unicode.IsControl), "%q", name)
		}
		raw, err := json.Marshal(draft)
		require.NoError(t, err)
		again, err := decodeDraft(raw)
		require.NoError(t, err, "%s", raw)
		more, err := json.Marshal(again)
		require.NoError(t, err)
		require.JSONEq(t, string(raw), string(more))
	})
}

// requireDiscreet holds a refusal to be short.
func requireDiscreet(t *testing.T, body []byte, err error) {
	t.Helper()
	var p *Problem
	require.ErrorAs(t, err, &p, "%q", body)
	require.Contains(t, []int{400, 422}, p.Status)
	require.LessOrEqual(t, len(p.Errors), maxFaults)
	raw, err := json.Marshal(p)
	require.NoError(t, err)
	require.Less(t, len(raw), 64<<10)
	for _, fault := range p.Errors {
		require.True(t, strings.HasPrefix(fault.Pointer, "#"), fault.Pointer)
		require.NotEmpty(t, fault.Detail)
	}
}

// FuzzBatch reads batches that mean no good.
func FuzzBatch(f *testing.F) {
	for _, seed := range []string{
		`{"jobs":[` + sunset + `]}`, `{"jobs":[]}`, `{"jobs":null}`, `{"jobs":[null,1,"a",{}]}`, `{"jobs":[{"idempotency_key":"a\nb"}]}`, `{"jobs":{},"x":1}`,
	} {
		f.Add([]byte(seed))
	}
	s := newServer(Config{Jobs: newEngine(), Loopback: true})
	handler := s.handler()
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<20 {
			return
		}
		a := record(handler, "POST", "/v1/jobs/batch", body)
		require.Contains(t, []int{200, 400, 422}, a.Code, "%s", a.Body)
		require.True(t, json.Valid(a.Body.Bytes()))
		require.Zero(t, s.bodies.held.Load())
	})
}

// FuzzHeaders reads the headers that callers steer us by.
func FuzzHeaders(f *testing.F) {
	for _, seed := range []string{"wait=5", "wait=-1", `wait="7", wait=8`, `"a\"b"`, `"a`, `W/"7", "8"`, "*", "wait", "WAIT=99999999999999999999", "\x00", `"\`, ";;=,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		header := http.Header{"Idempotency-Key": {value}, "Prefer": {value}, "If-Match": {value}, "If-None-Match": {value}, "Content-Type": {value}}
		if key, err := idempotencyKey(header); err == nil {
			require.LessOrEqual(t, len([]rune(key)), 255)
			require.NotEmpty(t, key)
			require.False(t, strings.ContainsFunc(key, unicode.IsControl))
		}
		wait, asked := preferredWait(header)
		require.GreaterOrEqual(t, wait, time.Duration(0))
		require.LessOrEqual(t, wait, time.Minute)
		require.True(t, asked || wait == 0)
		for _, version := range wantedVersions(header) {
			require.GreaterOrEqual(t, version, int64(-1))
		}
		_ = matches(header, 7)
		_ = lastVersion(value)
		_ = claimedType(header)
		r := &http.Request{Header: http.Header{"X-Request-Id": {value}}}
		id := requestID(r)
		require.NotEmpty(t, id)
		require.LessOrEqual(t, len(id), 128)
		require.False(t, strings.ContainsFunc(id, func(c rune) bool { return unicode.IsControl(c) || unicode.IsSpace(c) }))
	})
}

// record serves one request without a network.
func record(handler http.Handler, method, path string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://localhost"+path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}
