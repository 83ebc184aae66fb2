package client

import (
	"context"
	"io"
)

// Artifact is an opened artifact.
type Artifact struct {
	io.ReadCloser
	MediaType string
	Size      int64 // -1 when nobody says
}

// OpenArtifact opens the artifact of a job at that index. The caller closes it.
func (c *Client) OpenArtifact(ctx context.Context, jobID string, index int) (*Artifact, error) {
	return c.transport.openArtifact(ctx, jobID, index)
}

// Open is [Client.OpenArtifact] under a shorter name.
func (c *Client) Open(ctx context.Context, jobID string, index int) (*Artifact, error) {
	return c.OpenArtifact(ctx, jobID, index)
}
