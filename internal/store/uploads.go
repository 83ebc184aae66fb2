package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

var _ orchestrator.Uploads = (*Store)(nil)

// uploadScript writes the record of an uploaded file and its place in the purge
// index.
//
//	KEYS  1 upload  2 purge
//	ARGV  1 id  2 record  3 purge time  4 "new", or empty
//
// It answers ok or missing: only a new record is created. Saying the same again
// changes nothing.
var uploadScript = newScript(`
if ARGV[4] == '' then
	if redis.call('EXISTS', KEYS[1]) == 0 then return {'missing', now} end
	even_when_full(KEYS[2])
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
return {'ok', now}
`)

// removeUploadScript removes the record of an uploaded file.
//
//	KEYS  1 upload  2 purge
//	ARGV  1 id
//
// It answers ok.
var removeUploadScript = newScript(`
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
return {'ok', now}
`)

// CreateUpload implements [orchestrator.Uploads].
func (s *Store) CreateUpload(ctx context.Context, u *tasks.Upload, purgeAt time.Time) error {
	return s.writeUpload(ctx, "create upload", u, purgeAt, "new")
}

// SaveUpload implements [orchestrator.Uploads].
func (s *Store) SaveUpload(ctx context.Context, u *tasks.Upload, purgeAt time.Time) error {
	return s.writeUpload(ctx, "save upload", u, purgeAt, "")
}

func (s *Store) writeUpload(ctx context.Context, operation string, u *tasks.Upload, purgeAt time.Time, fresh string) error {
	record, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("%s %s: %w", operation, u.ID, err)
	}
	reply, err := s.run(ctx, operation, uploadScript, []string{keyUpload + u.ID, keyPurge}, u.ID, record, purgeAt.UnixMilli(), fresh)
	if err != nil {
		return err
	}
	if reply.word == answerMissing {
		return fmt.Errorf("%s %s: %w", operation, u.ID, orchestrator.ErrNoUpload)
	}
	return nil
}

// LoadUpload implements [orchestrator.Uploads].
func (s *Store) LoadUpload(ctx context.Context, id string) (*tasks.Upload, error) {
	raw, err := s.redis.Get(ctx, keyUpload+id).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, fmt.Errorf("load upload: %w", orchestrator.ErrNoUpload)
	case err != nil:
		return nil, s.failed("load upload", err)
	}
	u := new(tasks.Upload)
	if err := json.Unmarshal(raw, u); err != nil {
		return nil, fmt.Errorf("load upload %s: %w", id, err)
	}
	return u, nil
}

// RemoveUpload implements [orchestrator.Uploads].
func (s *Store) RemoveUpload(ctx context.Context, id string) error {
	_, err := s.run(ctx, "remove upload", removeUploadScript, []string{keyUpload + id, keyPurge}, id)
	return err
}

// Keyed implements [orchestrator.Store].
func (s *Store) Keyed(ctx context.Context, tenant, key string) (orchestrator.Created, error) {
	held, err := s.redis.Get(ctx, idempotencyKey(&tasks.Job{Tenant: tenant, IdempotencyKey: key})).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return orchestrator.Created{}, nil
	case err != nil:
		return orchestrator.Created{}, s.failed("read idempotency key", err)
	}
	id, hash, _ := strings.Cut(held, " ")
	return orchestrator.Created{ExistingID: id, ExistingHash: hash}, nil
}
