package store_test

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// lossy stands between a client and its server. Armed with a command's name, it
// lets the next such command through, swallows the reply and cuts the
// connection.
type lossy struct {
	listener net.Listener
	backend  string
	armed    atomic.Pointer[string]
	lost     atomic.Int64
}

func newLossy(t *testing.T, backend string) *lossy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &lossy{listener: listener, backend: backend}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { l.pipe(client) })
		}
	})
	t.Cleanup(conns.Wait) // after the clients, whose cleanups come first, have hung up
	t.Cleanup(func() { _ = listener.Close() })
	return l
}

func (l *lossy) url() string { return "redis://" + l.listener.Addr().String() }

func (l *lossy) pipe(client net.Conn) {
	backend, err := net.Dial("tcp", l.backend)
	if err != nil {
		_ = client.Close()
		return
	}
	var doomed atomic.Bool
	var ways sync.WaitGroup
	way := func(from, to net.Conn, pass func([]byte) bool) {
		defer from.Close()
		defer to.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if err != nil || !pass(buffer[:n]) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
	ways.Go(func() {
		way(client, backend, func(sent []byte) bool {
			if name := l.armed.Load(); name != nil && bytes.Contains(sent, []byte(*name)) {
				doomed.Store(l.armed.CompareAndSwap(name, nil))
			}
			return true
		})
	})
	way(backend, client, func([]byte) bool {
		if doomed.Load() {
			l.lost.Add(1)
			return false
		}
		return true
	})
	ways.Wait()
}

// lose arms it.
func (l *lossy) lose(command string) { l.armed.Store(&command) }

// TestLostReply runs every script that changes a record, loses its reply, and
// expects that the client's repetition changes nothing more.
func TestLostReply(t *testing.T) {
	t.Parallel()
	url, redis := serve(t)
	proxy := newLossy(t, redis.Addr())
	f := fixture{t, openStore(t, store.Config{URL: proxy.url()}), newClient(t, url)}
	losing := func(what string, call func() error) {
		t.Helper()
		before := proxy.lost.Load()
		proxy.lose(map[bool]string{true: "easel:secret", false: "evalsha"}[what == "secret"])
		require.NoError(t, call(), what)
		require.Equal(t, before+1, proxy.lost.Load(), "%s: no reply was lost", what)
		requireConsistent(t, t.Context(), f.redis)
	}

	job, twin := newJob(f.store.Now()), newJob(f.store.Now())
	job.IdempotencyKey, twin.IdempotencyKey = "key", "key"
	losing("create", func() error {
		created, err := f.store.Create(t.Context(), []*tasks.Job{job, twin}, nil)
		require.Equal(t, []orchestrator.Created{{}, {ExistingID: job.ID, ExistingHash: "hash"}}, created)
		return err
	})
	for range 10 { // more than a record remembers
		losing("save", func() error {
			job.Waits++
			fresh, err := f.store.Save(t.Context(), job, nil)
			require.Nil(t, fresh)
			return err
		})
	}
	stored, err := f.store.Load(t.Context(), job.ID)
	require.NoError(t, err)
	require.Equal(t, 10, stored.Waits)
	require.EqualValues(t, 11, stored.Version)
	require.Equal(t, stored.Version, job.Version)

	losing("claim", func() error {
		_, err := f.store.Claim(t.Context(), job.MainTask(0), 2*time.Hour)
		return err
	})
	losing("touch", func() error { return f.store.Touch(t.Context(), []string{job.ID}, 3*time.Hour) })
	losing("secret", func() error {
		secret, err := f.store.GetOrCreateSecret(t.Context())
		require.Len(t, secret, 32)
		return err
	})
	losing("tombstone", func() error { return f.store.Tombstone(t.Context(), job) })
	losing("purge", func() error { return f.store.Purge(t.Context(), job.ID) })
	counts, err := f.store.Counts(t.Context())
	require.NoError(t, err)
	require.Zero(t, counts.Jobs[tasks.Queued])
}

// TestLostOverdue shows what becomes of entries whose reply was lost: nobody
// has them, and they come back after the push.
func TestLostOverdue(t *testing.T) {
	t.Parallel()
	url, redis := serve(t)
	proxy := newLossy(t, redis.Addr())
	f := fixture{t, openStore(t, store.Config{URL: proxy.url()}), newClient(t, url)}
	first := f.create(func(j *tasks.Job) { j.Touch = f.store.Now().Add(-2 * time.Minute) })
	second := f.create(func(j *tasks.Job) { j.Touch = f.store.Now().Add(-time.Minute) })
	proxy.lose("evalsha")
	taken, err := f.store.Overdue(t.Context(), 1, time.Hour)
	require.NoError(t, err)
	require.EqualValues(t, 1, proxy.lost.Load())
	require.Equal(t, []string{second.ID}, taken)
	require.WithinDuration(t, f.store.Now().Add(time.Hour), f.score("easel:open", first.ID), time.Minute)
}

// TestFullRedis: memory is used up, new jobs are refused, accepted ones finish.
func TestFullRedis(t *testing.T) {
	t.Parallel()
	url, _ := serve(t)
	f := fixture{t, openStore(t, store.Config{URL: url}), newClient(t, url)}
	job := f.create(func(j *tasks.Job) { j.Touch = f.store.Now().Add(-time.Second) })
	require.NoError(t, f.redis.ConfigSet(t.Context(), "maxmemory", "1").Err())

	refused := newJob(f.store.Now())
	refused.IdempotencyKey = "key"
	_, err := f.store.Create(t.Context(), []*tasks.Job{refused}, nil)
	require.ErrorIs(t, err, orchestrator.ErrUnavailable)
	require.ErrorContains(t, err, "OOM")
	requireConsistent(t, t.Context(), f.redis)

	_, err = f.store.Claim(t.Context(), job.MainTask(0), time.Minute)
	require.NoError(t, err)
	require.True(t, f.score("easel:open", job.ID).After(f.store.Now()), "leases are extended")
	require.NoError(t, f.store.Touch(t.Context(), []string{job.ID}, time.Hour))
	f.save(job, func(j *tasks.Job) { j.State, j.Touch = tasks.Completed, f.store.Now().Add(-time.Second) })
	taken, err := f.store.Overdue(t.Context(), 1, time.Minute)
	require.NoError(t, err)
	require.Equal(t, []string{job.ID}, taken)
	f.purge(job)
	requireConsistent(t, t.Context(), f.redis)
}

// TestPowerCut: what was answered is there after a kill -9.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	url, redis := serve(t, redistest.AOF("always"))
	f := fixture{t, openStore(t, store.Config{URL: url}), newClient(t, url)}
	for range 3 {
		var mu sync.Mutex
		promised := map[string]int64{}
		enough := make(chan struct{})
		cut := sync.OnceFunc(func() { close(enough) })
		promise := func(job *tasks.Job) {
			mu.Lock()
			defer mu.Unlock()
			promised[job.ID] = job.Version
			if len(promised) == 100 {
				cut()
			}
		}
		var writers sync.WaitGroup
		for range 8 {
			writers.Go(func() {
				for { // until the power is cut
					job := newJob(f.store.Now())
					if _, err := f.store.Create(t.Context(), []*tasks.Job{job}, nil); err != nil {
						return
					}
					promise(job)
					job.State = pick(tasks.States)
					if _, err := f.store.Save(t.Context(), job, nil); err != nil {
						return
					}
					promise(job)
				}
			})
		}
		<-enough
		redis.Kill()
		writers.Wait()
		redis.Restart()
		for id, version := range promised {
			job, err := f.store.Load(t.Context(), id)
			require.NoError(t, err)
			require.GreaterOrEqual(t, job.Version, version)
		}
		requireConsistent(t, t.Context(), f.redis)
	}
}

// TestScriptsAreKnown: a script that the server did not know would cost a
// second round trip.
func TestScriptsAreKnown(t *testing.T) {
	t.Parallel()
	url, _ := serve(t)
	f := fixture{t, openStore(t, store.Config{URL: url}), newClient(t, url)}
	job := f.create()
	f.save(job, func(*tasks.Job) {})
	_, err := f.store.Claim(t.Context(), job.MainTask(0), time.Second)
	require.NoError(t, err)
	require.NoError(t, f.store.Touch(t.Context(), []string{job.ID}, time.Second))
	_, err = f.store.Overdue(t.Context(), 1, time.Second)
	require.NoError(t, err)
	_, err = f.store.List(t.Context(), orchestrator.Query{Tenant: job.Tenant})
	require.NoError(t, err)
	f.purge(job)
	errors, err := f.redis.Info(t.Context(), "errorstats").Result()
	require.NoError(t, err)
	require.NotContains(t, errors, "NOSCRIPT")
}

func TestCheck(t *testing.T) {
	t.Parallel()
	codes := func(url string) []string {
		var codes []string
		for _, warning := range openStore(t, store.Config{URL: url}).Check(t.Context()) {
			require.NotEmpty(t, warning.Message)
			codes = append(codes, warning.Code)
		}
		return codes
	}
	safe, _ := serve(t, redistest.AOF("everysec"))
	require.Empty(t, codes(safe))
	risky, _ := serve(t, redistest.Args("--maxmemory-policy", "allkeys-lru"))
	require.Equal(t, []string{store.WarningEviction, store.WarningPersistence}, codes(risky))
	require.Equal(t, []string{store.WarningUnknown}, codes("redis://"+miniredis.RunT(t).Addr()))
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	cluster, _ := serve(t, redistest.Args("--cluster-enabled", "yes"))
	_, err := store.Open(t.Context(), store.Config{URL: cluster})
	require.ErrorContains(t, err, "Cluster")

	mini := miniredis.RunT(t)
	url := "redis://" + mini.Addr()
	require.NoError(t, mini.Set("easel:schema", "2"))
	_, err = store.Open(t.Context(), store.Config{URL: url})
	require.ErrorContains(t, err, "newer release")
	got, err := mini.Get("easel:schema")
	require.NoError(t, err)
	require.Equal(t, "2", got)

	mini.Del("easel:schema")
	_, err = store.Open(t.Context(), store.Config{URL: url, IntentDurability: store.DurabilityFsync})
	require.ErrorContains(t, err, "7.2")
	_, err = store.Open(t.Context(), store.Config{URL: url, IntentDurability: "perhaps"})
	require.ErrorContains(t, err, "intent_durability")
	_, err = store.Open(t.Context(), store.Config{URL: "http://x"})
	require.Error(t, err)
}

// TestSaveIntent plays a server's WAITAOF: how many have synced is the test's
// to say.
func TestSaveIntent(t *testing.T) {
	t.Parallel()
	var local, replicas atomic.Int64
	local.Store(1)
	var asked atomic.Value
	mini := miniredis.RunT(t)
	require.NoError(t, mini.Server().Register("WAITAOF", func(c *server.Peer, _ string, args []string) {
		asked.Store(args)
		c.WriteLen(2)
		c.WriteInt(int(local.Load()))
		c.WriteInt(int(replicas.Load()))
	}))
	url := "redis://" + mini.Addr()
	client := newClient(t, url)
	fsync := fixture{t, openStore(t, store.Config{Client: client, IntentDurability: store.DurabilityFsync}), client}
	replica := fixture{t, openStore(t, store.Config{Client: client, IntentDurability: store.DurabilityReplica}), client}
	none := fixture{t, openStore(t, store.Config{Client: client}), client}

	job := fsync.create()
	fresh, _, err := fsync.store.SaveIntent(t.Context(), job, map[int64][]byte{2: []byte("body")}, providers.Limits{})
	require.NoError(t, err)
	require.Nil(t, fresh)
	require.EqualValues(t, 2, job.Version)
	require.Equal(t, []string{"1", "0", "2000"}, asked.Load())
	body, err := fsync.store.Body(t.Context(), job.ID, 2)
	require.NoError(t, err)
	require.Equal(t, "body", string(body))

	require.NoError(t, client.ScriptFlush(t.Context()).Err())
	_, _, err = fsync.store.SaveIntent(t.Context(), job, nil, providers.Limits{})
	require.NoError(t, err)

	_, _, err = replica.store.SaveIntent(t.Context(), job, nil, providers.Limits{})
	require.ErrorIs(t, err, orchestrator.ErrUnavailable)
	require.ErrorContains(t, err, "not confirmed")
	require.Equal(t, []string{"1", "1", "2000"}, asked.Load())
	require.EqualValues(t, 4, job.Version, "it was written all the same")
	replicas.Store(1)
	_, _, err = replica.store.SaveIntent(t.Context(), job, nil, providers.Limits{})
	require.NoError(t, err)

	local.Store(0)
	_, _, err = fsync.store.SaveIntent(t.Context(), job, nil, providers.Limits{})
	require.ErrorIs(t, err, orchestrator.ErrUnavailable)
	_, _, err = none.store.SaveIntent(t.Context(), job, nil, providers.Limits{})
	require.NoError(t, err, "nobody is asked")

	local.Store(1)
	proxy := newLossy(t, mini.Addr())
	far := openStore(t, store.Config{URL: proxy.url(), IntentDurability: store.DurabilityFsync})
	asked.Store([]string{})
	proxy.lose("evalsha")
	_, _, err = far.SaveIntent(t.Context(), job, nil, providers.Limits{})
	require.NoError(t, err, "the reply was lost, and write and wait are sent again together")
	require.EqualValues(t, 1, proxy.lost.Load())
	require.Equal(t, []string{"1", "0", "2000"}, asked.Load())
	require.EqualValues(t, 8, job.Version, "once")

	job.Version = 1
	fresh, _, err = fsync.store.SaveIntent(t.Context(), job, nil, providers.Limits{})
	require.ErrorIs(t, err, orchestrator.ErrConflict)
	require.EqualValues(t, 8, fresh.Version)
	_, _, err = fsync.store.SaveIntent(t.Context(), newJob(fsync.store.Now()), nil, providers.Limits{})
	require.ErrorIs(t, err, orchestrator.ErrNotFound)
}

// TestHungRedis: a server that hangs is told apart within the caller's time,
// and what it was sent is done once when it wakes.
func TestHungRedis(t *testing.T) {
	t.Parallel()
	url, redis := serve(t)
	f := fixture{t, openStore(t, store.Config{URL: url + "?read_timeout=200ms"}), newClient(t, url)}
	job := f.create()
	redis.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := f.store.Save(ctx, job, nil)
	require.ErrorIs(t, err, orchestrator.ErrUnavailable)
	require.NoError(t, ctx.Err(), "the call gave up before its caller did")
	redis.Resume()

	canceled, cancelNow := context.WithCancel(t.Context())
	cancelNow()
	_, err = f.store.Load(canceled, job.ID)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, orchestrator.ErrUnavailable, "a caller who went away is not Redis' fault")

	// Both tries of the save arrived, and are done once the server gets to them.
	require.Eventually(t, func() bool {
		fresh, err := f.store.Load(t.Context(), job.ID)
		return err == nil && fresh.Version > 1
	}, 20*time.Second, 10*time.Millisecond)
	fresh, err := f.store.Load(t.Context(), job.ID)
	require.NoError(t, err)
	require.EqualValues(t, 2, fresh.Version)
}
