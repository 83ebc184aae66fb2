package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// healthcheckTime bounds the check where its caller does not: a probe that
// hangs says nothing.
const healthcheckTime = 10 * time.Second

// healthcheckCommand is for containers, which hold no shell and no curl.
func (p *program) healthcheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "healthcheck URL",
		Short:  "Exit with 0 if the URL answers 2xx",
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE:   func(cmd *cobra.Command, args []string) error { return healthcheck(cmd.Context(), args[0]) },
	}
}

// healthcheck asks the process itself: not a proxy, and not where it redirects
// to.
func healthcheck(ctx context.Context, address string) error {
	target, err := url.Parse(address)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return usageError{errors.New("healthcheck needs an http:// or https:// URL")}
	}
	ctx, cancel := context.WithTimeout(ctx, healthcheckTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return usageError{err}
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // the status is all we want
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("not healthy: the answer is %s", response.Status)
	}
	return nil
}
