//go:build easel_http

package client

// engineOptions are those of clients that were left out of this build.
type engineOptions struct{}
