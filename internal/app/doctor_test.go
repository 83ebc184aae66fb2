package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// ward is an installation without workers, for a doctor to look at, and a plain
// client to break things with.
type ward struct {
	*testing.T
	platform *platform
	doctor   *orchestrator.Doctor
	redis    *redis.Client
}

func newWard(t *testing.T) *ward {
	db := redistest.Start(t)
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	cfg.Redis.URL = config.URL(db.URL())
	p, err := open(t.Context(), cfg, zaptest.NewLogger(t), db.URL())
	require.NoError(t, err)
	t.Cleanup(p.close)
	rdb := redis.NewClient(&redis.Options{Addr: db.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	doctor := p.doctor(DoctorOptions{})
	doctor.Patience, doctor.FilesAge = 10*time.Millisecond, time.Nanosecond // nobody else is at work
	return &ward{t, p, doctor, rdb}
}

func (w *ward) accept(key string) *tasks.Job {
	w.Helper()
	job, _, err := w.platform.engine.Accept(w.Context(), tasks.DefaultTenant, orchestrator.Entry{
		Draft: tasks.Draft{FeatureType: tasks.TextToImage, UserID: "user-1", WebhookURL: "https://example.com/hook",
			InputData: json.RawMessage(`{"prompt":"a kite"}`)},
		IdempotencyKey: key,
	})
	require.NoError(w, err)
	return job
}

func (w *ward) kinds(x *orchestrator.Examination, err error) []orchestrator.DriftKind {
	w.Helper()
	require.NoError(w, err)
	kinds := map[orchestrator.DriftKind]bool{}
	for _, d := range x.Drifts {
		kinds[d.Kind] = true
		require.NotEmpty(w, orchestrator.Explanations[d.Kind].Repair, "%s is not explained", d.Kind)
	}
	return slices.Sorted(maps.Keys(kinds))
}

// do runs one command by hand.
func (w *ward) do(args ...any) any {
	w.Helper()
	reply, err := w.redis.Do(w.Context(), args...).Result()
	require.NoError(w, err)
	return reply
}

func (w *ward) save(job *tasks.Job, change func(*tasks.Job)) {
	w.Helper()
	fresh, err := w.platform.store.Load(w.Context(), job.ID)
	require.NoError(w, err)
	change(fresh)
	_, err = w.platform.store.Save(w.Context(), fresh, nil)
	require.NoError(w, err)
}

// TestDoctorFindsAndMends makes every kind of drift by hand, one after the
// other, sees it reported, mended, and gone.
func TestDoctorFindsAndMends(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	job, other, ended := w.accept("key-1"), w.accept("key-2"), w.accept("")
	_, err := w.platform.engine.Cancel(t.Context(), tasks.DefaultTenant, ended.ID, 0)
	require.NoError(t, err)
	hash, idem := "easel:job:"+job.ID, ""
	require.NoError(t, w.redis.HGet(t.Context(), hash, "idem").Scan(&idem))
	const queue = "asynq:{submit:default}:"
	const places, waiting, running = "easel:places:sketch", "easel:queue:default:drawings:waiting", "easel:queue:default:drawings:running"
	taskID := func() string {
		current, err := w.platform.store.Load(t.Context(), job.ID)
		require.NoError(t, err)
		return current.MainTask(0).ID()
	}
	now := func(shift time.Duration) int64 { return time.Now().Add(shift).UnixMilli() }

	_, err = w.platform.engine.Upload(t.Context(), tasks.DefaultTenant, "image/png", bytes.NewReader(pixelBytes(t)))
	require.NoError(t, err)
	require.Empty(t, w.kinds(w.doctor.Examine(t.Context())), "an upload has its place too")
	for _, test := range []struct {
		want  string // the kinds, the first the one that the test is about
		spoil func()
	}{
		{"fields_stale waiting_stray", func() { w.do("HSET", hash, "lane", "9:9", "st", "processing") }},
		{"open_missing", func() { w.do("ZREM", "easel:open", job.ID) }},
		{"open_needless", func() { w.settle(ended); w.do("ZADD", "easel:open", now(time.Hour), ended.ID) }},
		{"open_asleep", func() { w.do("ZADD", "easel:open", now(100*time.Hour), job.ID) }},
		{"purge_missing", func() { w.do("ZREM", "easel:purge", ended.ID) }},
		{"purge_needless", func() { w.do("ZADD", "easel:purge", now(time.Hour), job.ID) }},
		{"list_missing", func() { w.do("ZREM", "easel:jobs:default", job.ID) }},
		{"list_missing", func() { w.do("DEL", "easel:jobs:default:user:"+w.user(job)) }},
		{"list_missing counts_off", func() { w.do("ZREM", "easel:jobs:default:status:queued", job.ID) }},
		{"index_stray counts_off", func() { w.do("ZADD", "easel:jobs:default:status:completed", 0, job.ID) }},
		{"index_stray", func() { w.do("ZADD", "easel:jobs:default:user:nobody", 0, job.ID) }},
		{"index_stray", func() { w.do("ZADD", "easel:open", now(time.Hour), "job_nobody") }},
		{"index_stray", func() { w.do("ZADD", "easel:purge", now(time.Hour), "job_nobody") }},
		{"counts_off", func() { w.do("HINCRBY", "easel:counts", "queued", 5) }},
		{"counts_off", func() { w.do("HSET", "easel:counts", "submitting", 3) }},
		{"idempotency_key_missing", func() { w.do("DEL", idem) }},
		{"idempotency_key_dangling", func() { w.do("SET", "easel:idem:default:0123", "job_nobody hash") }},
		{"idempotency_key_dangling", func() { w.do("SET", "easel:idem:default:4567", other.ID+" hash") }},

		{"place_missing", func() { w.inFlight(w.accept("")); w.do("DEL", places) }},
		{"place_missing", func() { w.do("ZADD", places, now(2*time.Hour), w.inFlight(w.accept(""))) }},
		{"fields_stale place_missing", func() {
			w.do("HSET", hash, "held", fmt.Sprintf("sketch|9|%d ", now(time.Hour)))
		}},
		{"place_stray", func() { w.do("ZADD", places, now(time.Hour), "job_nobody:1") }},
		{"place_stray", func() { w.do("ZADD", places, now(time.Hour), job.ID+":7") }},
		{"place_stray", func() { w.do("ZADD", places, now(time.Hour), "no place at all") }},
		{"waiting_missing", func() { w.do("SREM", "easel:waiting:sketch", job.ID) }},
		{"waiting_stray", func() { w.do("SADD", "easel:waiting:sketch", "job_nobody") }},
		{"waiting_stray", func() { w.do("SADD", "easel:waiting:sketch", ended.ID) }},
		{"line_missing", func() { w.save(w.accept(""), func(j *tasks.Job) { j.InLine = true }) }},
		{"line_stray", func() { w.do("ZADD", "easel:line:sketch", 0, "job_nobody") }},
		{"line_stray", func() { w.do("ZADD", "easel:line:sketch", now(0), ended.ID) }},
		{"line_stray", func() { w.do("ZADD", "easel:line:elsewhere", now(0), job.ID) }},
		{"line_stray", func() {
			turn := now(time.Hour) * 1000
			w.do("ZADD", "easel:turns:sketch", turn, ended.ID)
			w.do("ZADD", "easel:slots:sketch", turn, fmt.Sprintf("%s:%d", ended.ID, turn))
		}},
		{"circuit_unreadable", func() { w.do("HSET", "easel:circuits", "sketch sketch-1", "nonsense") }},
		{"circuit_asleep", func() {
			w.do("HSET", "easel:circuits", "sketch sketch-1", fmt.Sprintf("%d %d 1 0 server", now(0), now(24*time.Hour)))
		}},
		{"circuit_asleep", func() {
			w.do("HSET", "easel:circuits", "sketch ", fmt.Sprintf("%d %d 1 0 quota", now(24*time.Hour), now(0)))
		}},
		{"queue_item_lost", func() { w.queued("lost"); w.do("LREM", waiting, 0, "lost") }},
		{"queue_item_lost", func() { w.queued("running"); w.takeItem(); w.do("DEL", running) }},
		{"queue_item_stray", func() { w.do("RPUSH", waiting, "nobody") }},
		{"queue_item_stray", func() { w.do("ZADD", running, now(time.Hour), "nobody") }},
		{"queue_item_stray", func() { w.queued("twice"); w.do("ZADD", running, now(time.Hour), "twice") }},
		{"queue_item_stray", func() { w.do("RPUSH", "easel:queue:default:empty:waiting", "nobody") }},

		{"task_ghost step_lost", func() { w.do("DEL", queue+"t:"+taskID()) }},
		{"task_orphaned", func() { w.do("LREM", queue+"pending", 0, taskID()) }},
		{"task_stuck", func() { w.takeTask(queue, taskID()) }},
		{"task_stuck", func() {
			w.takeTask(queue, taskID())
			w.do("ZADD", queue+"lease", time.Now().Add(-10*time.Minute).Unix(), taskID())
		}},
		{"queue_hidden", func() { w.do("SREM", "asynq:queues", "submit:default") }},
		{"step_lost", func() {
			w.do("LREM", queue+"pending", 0, taskID())
			w.do("DEL", queue+"t:"+taskID())
		}},
		{"delivery_lost", func() {
			again := w.accept("")
			canceled, err := w.platform.engine.Cancel(t.Context(), tasks.DefaultTenant, again.ID, 0)
			require.NoError(t, err)
			require.Len(t, canceled.Outbox, 1)
			w.drop("deliver", fmt.Sprintf("%s:deliver-%d:0", again.ID, canceled.Outbox[0].Version))
		}},
		{"revoke_lost", func() {
			w.save(w.accept(""), func(j *tasks.Job) {
				j.Submissions = append(j.Submissions, tasks.Submission{
					Number: 1, ProviderID: "sketch", State: tasks.SubmissionEnded, Revoke: tasks.RevokeWanted, RevokeAt: time.Now(),
				})
			})
		}},
		{"task_without_job", func() {
			require.NoError(t, w.platform.queue.Enqueue(t.Context(), tasks.Task{
				Kind: tasks.KindPoll, JobID: "job_nobody", Step: 3, Queue: tasks.QueuePoll, Delay: time.Hour,
			}))
		}},
		{"files_without_job", func() {
			_, err := w.platform.artifacts.Stage(t.Context(), "job_nobody/1", providers.Status{
				State: providers.Succeeded, Outputs: []providers.Output{{Data: []byte("bytes"), MediaType: "image/png"}},
			})
			require.NoError(t, err)
		}},
	} {
		wants := []orchestrator.DriftKind{}
		for word := range strings.FieldsSeq(test.want) {
			wants = append(wants, orchestrator.DriftKind(word))
		}
		slices.Sort(wants)
		test.spoil()
		require.Equal(t, wants, w.kinds(w.doctor.Examine(t.Context())), "after breaking %s", test.want)
		mended, err := w.doctor.Repair(t.Context())
		require.NoError(t, err)
		require.True(t, mended.Clean(), "%s is not mended: %+v", test.want, mended.Drifts)
		for _, d := range mended.Drifts {
			require.True(t, d.Mended, "%+v", d)
		}
		require.Empty(t, w.kinds(w.doctor.Examine(t.Context())), "after mending %s", test.want)
	}

	// What cannot be mended is said again and again.
	record := w.do("HGET", "easel:job:"+other.ID, "rec")
	for kind, test := range map[orchestrator.DriftKind][2]func(){
		orchestrator.DriftRecordUnreadable: {
			func() { w.do("HSET", "easel:job:"+other.ID, "rec", "{") },
			func() { w.do("HSET", "easel:job:"+other.ID, "rec", record) },
		},
		orchestrator.DriftKeyTaken: {
			func() { w.do("SET", idem, other.ID+" hash"); w.do("HSET", "easel:job:"+other.ID, "idem", idem) },
			func() { w.do("SET", idem, job.ID+" hash") },
		},
	} {
		test[0]()
		x, err := w.doctor.Repair(t.Context())
		require.Contains(t, w.kinds(x, err), kind)
		require.False(t, x.Clean())
		test[1]()
	}
}

// settle has the deliveries of a canceled job done, so that it owes nothing.
func (w *ward) settle(job *tasks.Job) {
	w.save(job, func(j *tasks.Job) {
		for i := range j.Outbox {
			w.drop("deliver", fmt.Sprintf("%s:deliver-%d:0", j.ID, j.Outbox[i].Version))
			j.Outbox[i].State = tasks.DeliveryDelivered
		}
		j.Touch, j.PurgeAt = time.Time{}, time.Now().Add(time.Hour)
	})
}

// takeTask makes a pending task active, and forgets the lease.
func (w *ward) takeTask(queue, id string) {
	w.do("LREM", queue+"pending", 0, id)
	w.do("LPUSH", queue+"active", id)
	w.do("HSET", queue+"t:"+id, "state", "active")
}

// inFlight has the job take a place at its provider, and returns the place's name
// in the index.
func (w *ward) inFlight(job *tasks.Job) string {
	until := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	w.save(job, func(j *tasks.Job) { j.Places = []tasks.Place{{ProviderID: "sketch", Submission: 1, Until: until}} })
	return job.ID + ":1"
}

// queued adds an item to a named queue.
func (w *ward) queued(id string) {
	w.Helper()
	require.NoError(w, w.platform.store.Backlog(tasks.DefaultTenant, "drawings").Add(w.Context(), id, []byte("{}")))
}

// takeItem has somebody work on the next item of that queue.
func (w *ward) takeItem() {
	w.Helper()
	item, err := w.platform.store.Backlog(tasks.DefaultTenant, "drawings").Take(w.Context(), "somebody", 10, time.Hour)
	require.NoError(w, err)
	require.NotNil(w, item)
}

// drop removes a task by hand, from wherever it is.
func (w *ward) drop(queue, id string) {
	w.do("LREM", "asynq:{"+queue+"}:pending", 0, id)
	w.do("ZREM", "asynq:{"+queue+"}:scheduled", id)
	w.do("DEL", "asynq:{"+queue+"}:t:"+id)
}

func (w *ward) user(job *tasks.Job) string {
	user, _ := w.do("HGET", "easel:job:"+job.ID, "u").(string)
	return user
}

// TestDoctorBesideWorkers examines and repairs an installation again and again
// while it works: it finds nothing, and breaks nothing.
func TestDoctorBesideWorkers(t *testing.T) {
	t.Parallel()
	s := serveOn(t, func(c *config.Config) { c.Providers[0].MaxInFlight = 6 }) // some stand in line
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var ended atomic.Int64
	for range 16 {
		load.Go(func() {
			for ctx.Err() == nil {
				job, err := s.complete(`{"feature_type":"text-to-image","model":"sketch-noop","user_id":"user-1",
					"webhook_url":"https://example.com/hook","input_data":{"prompt":"x","simulate":{"sync":false,"duration_ms":100}}}`)
				if err != nil || job.Status != tasks.StatusCompleted {
					t.Errorf("the job did not complete: %+v %v", job, err)
					return
				}
				ended.Add(1)
			}
		})
	}
	for ended.Load() < 300 && !t.Failed() {
		for _, repair := range []bool{false, true} {
			x, _, err := Doctor(t.Context(), s.running.platform.cfg, DoctorOptions{Log: zap.NewNop(), Repair: repair})
			require.NoError(t, err)
			require.Empty(t, x.Drifts)
		}
	}
	stop()
	load.Wait()
}

// complete runs a job to its rest, or for a minute.
func (s *server) complete(draft string) (job tasks.View, err error) {
	request, err := http.NewRequest(http.MethodPost, s.url+"/v1/jobs", strings.NewReader(draft))
	if err != nil {
		return job, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Prefer", "wait=60")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return job, err
	}
	defer response.Body.Close()
	return job, json.NewDecoder(response.Body).Decode(&job)
}
