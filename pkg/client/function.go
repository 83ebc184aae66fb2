//go:build !easel_http

package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/easel-jobs/easel/internal/app"
	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
)

// defaultConcurrency is that of configured providers.
const defaultConcurrency = 64

func (e *engine) register(ctx context.Context, spec ProviderSpec) error {
	entry, err := spec.entry()
	if err != nil {
		return err
	}
	if !e.service.HasWorker() {
		return errNoWorker
	}
	if err := e.service.Register(ctx, entry); err != nil {
		return fmt.Errorf("easel: register %s: %w", spec.ID, err)
	}
	return nil
}

// entry is the spec as the registry holds it.
func (s ProviderSpec) entry() (providers.Entry, error) {
	if err := s.check(); err != nil {
		return providers.Entry{}, err
	}
	f := function{spec: s}
	for _, c := range s.Capabilities {
		f.capabilities.Features = append(f.capabilities.Features, providers.FeatureCapability{
			Feature: c.FeatureType, Models: c.Models, Input: c.InputSchema,
		})
	}
	f.capabilities.Synchronous = true
	if s.Concurrency == 0 {
		s.Concurrency = defaultConcurrency
	}
	return providers.Entry{
		Name: s.ID, Adapter: app.FunctionAdapter, Provider: f, Concurrency: s.Concurrency, SubmitTimeout: s.Timeout,
		ResubmitOnUnknown: s.Repeatable,
	}, nil
}

// function is a provider whose one call is a function.
type function struct {
	spec         ProviderSpec
	capabilities providers.Capabilities
}

// Capabilities implements [providers.Provider].
func (f function) Capabilities() providers.Capabilities { return f.capabilities }

// Submit implements [providers.Provider].
func (f function) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	r := ProviderRequest{
		JobID: req.JobID, RequestID: req.ClientID, FeatureType: req.Feature, Model: req.Model, Input: req.Input, UserID: req.UserID,
	}
	r.Report = func(ctx context.Context, percent float64, message string) bool {
		if req.Report == nil {
			return true
		}
		if percent < 0 {
			return req.Report(ctx, nil, message)
		}
		return req.Report(ctx, &percent, message)
	}
	for _, file := range req.Files {
		r.Files = append(r.Files, ProviderFile{Pointer: file.Pointer, MediaType: file.MediaType, Data: file.Data})
	}
	made, err := f.call(ctx, r)
	if err != nil {
		return providers.Status{}, f.classified(err)
	}
	if made == nil || len(made.Files) == 0 {
		return providers.Status{}, &classify.Error{
			Class: classify.GenerationFailed, Code: "no_output", Provider: f.spec.ID, Message: "the provider made no file",
		}
	}
	status := providers.Status{State: providers.Succeeded, Data: made.Output, Cost: made.Cost}
	for _, file := range made.Files {
		output := providers.Output{URL: file.URL, MediaType: file.MediaType}
		if file.URL == "" {
			output.Data, output.MediaType = file.Data, file.mediaType()
		}
		status.Outputs = append(status.Outputs, output)
	}
	return status, nil
}

// call calls the function. A panic in it is its own failure and not the
// worker's end.
func (f function) call(ctx context.Context, r ProviderRequest) (made *ProviderResult, err error) {
	defer func() {
		if recover() != nil { // its value may quote the input
			err = &classify.Error{Class: classify.Unknown, Code: "panic", Message: "the provider's function panicked"}
		}
	}()
	return f.spec.Execute(ctx, r)
}

// classified is the error of a call that may have been paid for.
func (f function) classified(err error) error {
	info := classify.ClassifySubmit(err)
	known := &classify.Error{
		Class: info.Class, Code: info.Code, Message: info.Message, Field: info.Field, Status: info.Status,
		RetryAfter: info.RetryAfter, Provider: f.spec.ID, Cause: err,
	}
	if typed, ok := errors.AsType[*classify.Error](err); ok && typed.Provider != "" {
		known.Provider = typed.Provider
	}
	return known
}

// Poll implements [providers.Provider]: a function answers at once.
func (f function) Poll(context.Context, providers.Ref) (providers.Status, error) {
	return providers.Status{}, &classify.Error{
		Class: classify.NotFound, Code: "synchronous", Provider: f.spec.ID, Message: "the provider answers at once and has nothing to ask for later",
	}
}
