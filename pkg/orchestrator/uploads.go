package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// arrivalTime is how long an upload may take before what there is of it is
// purged.
const arrivalTime = time.Hour

// removalTime is how long whoever removes an upload has before somebody else
// does.
const removalTime = time.Minute

// Upload stores a file that requests of the tenant may refer to until it
// expires. It answers *InvalidError for what can be no input; nothing is left
// behind by a file that was refused.
//
// The record comes first, with its place in the purge index: bytes of an upload
// that is cut off are found there.
func (e *Engine) Upload(ctx context.Context, tenant, claimedType string, r io.Reader) (*tasks.Upload, error) {
	now := e.Store.Now()
	u := &tasks.Upload{
		ID:     tasks.UploadPrefix + ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String(),
		Tenant: tenant, CreatedAt: now, ExpiresAt: now.Add(arrivalTime),
	}
	if e.Uploads == nil || e.Inputs == nil {
		return nil, fmt.Errorf("upload: %w", ErrNoUpload)
	}
	if err := e.Uploads.CreateUpload(ctx, u, u.ExpiresAt); err != nil {
		return nil, fmt.Errorf("upload: %w", err)
	}
	if err := e.take(ctx, u, claimedType, r); err != nil {
		if err := e.removeUpload(context.WithoutCancel(ctx), u.ID); err != nil {
			e.Observer.Failed("remove a refused upload", u.ID, err)
		}
		return nil, err
	}
	return u, nil
}

// take brings the bytes of an upload into storage and completes its record.
func (e *Engine) take(ctx context.Context, u *tasks.Upload, claimedType string, r io.Reader) error {
	stored, err := e.Inputs.StoreFile(ctx, u.ID+"/data.*", claimedType, r)
	var refused *classify.Error
	switch {
	case errors.As(err, &refused) && refused.Class == classify.Validation:
		return &InvalidError{Fields: []FieldError{{Pointer: "", Detail: refused.Message}}}
	case errors.As(err, &refused):
		return fmt.Errorf("%w: store the file: %w", ErrUnavailable, err)
	case err != nil:
		return err // the body's own: it did not arrive
	}
	u.Key, u.MediaType, u.Bytes, u.SHA256 = stored.Key, stored.MediaType, stored.Bytes, stored.SHA256
	u.ExpiresAt = e.Store.Now().Add(e.Retention.Uploads)
	if err := e.Uploads.SaveUpload(ctx, u, u.ExpiresAt); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	return nil
}

// GetUpload returns a tenant's upload, or ErrNoUpload.
func (e *Engine) GetUpload(ctx context.Context, tenant, id string) (*tasks.Upload, error) {
	if e.Uploads == nil {
		return nil, ErrNoUpload
	}
	u, err := e.Uploads.LoadUpload(ctx, id)
	if err != nil {
		return nil, err
	}
	if u.Tenant != tenant || u.Key == "" || !e.Store.Now().Before(u.ExpiresAt) {
		return nil, ErrNoUpload
	}
	return u, nil
}

// EraseUpload removes a tenant's upload before its time. Jobs that were made
// from it have copies of their own.
func (e *Engine) EraseUpload(ctx context.Context, tenant, id string) error {
	u, err := e.GetUpload(ctx, tenant, id)
	if err != nil {
		return err
	}
	now := e.Store.Now()
	u.ExpiresAt = now // it reads as missing from now on
	if err := e.Uploads.SaveUpload(ctx, u, now.Add(removalTime)); err != nil {
		return err
	}
	return e.removeUpload(ctx, id)
}

// purgeUpload removes an upload whose time is over.
func (e *Engine) purgeUpload(ctx context.Context, id string) error {
	if e.Uploads == nil {
		return nil
	}
	u, err := e.Uploads.LoadUpload(ctx, id)
	switch {
	case errors.Is(err, ErrNoUpload):
	case err != nil:
		return err
	case e.Store.Now().Before(u.ExpiresAt):
		return nil
	}
	return e.removeUpload(ctx, id)
}

// removeUpload takes away the bytes, and then the record that knows of them.
func (e *Engine) removeUpload(ctx context.Context, id string) error {
	if e.Artifacts != nil {
		if err := e.Artifacts.Delete(ctx, id); err != nil {
			return err
		}
	}
	return e.Uploads.RemoveUpload(ctx, id)
}
