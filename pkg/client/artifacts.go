package client

import (
	"context"
	"io"
	"net/http"
	"strconv"
)

// Artifact is an opened artifact.
type Artifact struct {
	io.ReadCloser
	MediaType string
	Size      int64 // -1 when the server does not say
}

// OpenArtifact opens the artifact of a job at that index. The caller closes it.
func (c *Client) OpenArtifact(ctx context.Context, jobID string, index int) (*Artifact, error) {
	response, _, err := c.do(ctx, call{ //nolint:bodyclose // the caller closes it, as the artifact
		method: http.MethodGet, path: []string{"v1", "jobs", jobID, "artifacts", strconv.Itoa(index)},
		header: http.Header{"Accept": {"*/*"}}, repeatable: true,
	})
	if err != nil {
		return nil, err
	}
	return &Artifact{
		ReadCloser: response.Body, MediaType: response.Header.Get("Content-Type"), Size: response.ContentLength,
	}, nil
}
