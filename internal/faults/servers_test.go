package faults

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// fleetOn is a fleet on a Redis that is reached by a URL of its own kind. Extra
// is what else goes into the section redis.
func fleetOn(t *testing.T, server *redistest.Server, url, extra string, env ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), redis: server}
	var err error
	f.provider, err = sketch.NewService(sketch.ServiceConfig{AllowSimulate: true})
	require.NoError(t, err)
	provider := httptest.NewServer(f.provider)
	t.Cleanup(func() { provider.CloseClientConnections(); provider.Close(); _ = f.provider.Close() })
	f.config = filepath.Join(f.dir, "easel.yaml")
	require.NoError(t, os.WriteFile(f.config, fmt.Appendf(nil, `
redis: {url: %q%s}
data_dir: %q
api: {listen: "127.0.0.1:0"}
worker: {submit_timeout: 5s, shutdown_timeout: 10s, submit_concurrency: 32, poll_concurrency: 32}
defaults: {timeout: 5m, retry_delay: 200ms}
providers:
  - {name: sketch, use: sketch, base_url: %q, concurrency: 32, options: {allow_simulate: true, lookup: true}}
log: {level: info, format: json}
`, url, extra, filepath.Join(f.dir, "data"), provider.URL), 0o600))
	f.apiURL = "http://" + f.spawn("api", env...).address(t, "api is listening")
	f.api, err = client.Dial(f.apiURL, "")
	require.NoError(t, err)
	f.awaitReady()
	return f
}

func short(int) tasks.Draft { return noop(`{"sync":false,"duration_ms":300}`) }

// TestEncryptedRedis runs everything through TLS, with a certificate of an
// authority of our own, on a server that lets nobody in without.
func TestEncryptedRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.AOF("everysec"), redistest.TLS())
	trusted := "SSL_CERT_FILE=" + server.CA()
	f := fleetOn(t, server, server.TLSURL(), "", trusted)
	f.work(2, trusted)
	jobs := f.awaitRest(f.enqueue(50, short), patience)
	f.requireBoughtOnce(jobs)
	for _, job := range jobs {
		require.Equal(t, tasks.StatusCompleted, job.Status)
	}

	stranger := f.spawn("worker") // knows no such authority
	require.Eventually(t, func() bool {
		log, err := os.ReadFile(stranger.log)
		return err == nil && contains(log, "waiting for Redis", "certificate")
	}, patience, 20*time.Millisecond)
}

// TestFailover kills the master under load. Sentinels put its replica in its
// place, and the jobs go on there.
func TestFailover(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, redistest.AOF("everysec"))
	replica := redistest.Start(t, redistest.AOF("everysec"), redistest.ReplicaOf(master))
	awaitReplica(t, master)
	sentinels := redistest.StartSentinels(t, master)
	awaitWatch(t, sentinels)
	f := fleetOn(t, replica, sentinels.URL(), "")
	f.work(2)

	before := f.enqueue(200, short)
	require.Eventually(t, func() bool {
		stats, err := f.provider.Stats()
		return err == nil && stats.Accepted >= 50
	}, patience, 5*time.Millisecond)
	cut := time.Now()
	master.Kill()
	require.Eventually(t, func() bool { return role(t, replica) == "master" }, patience, 50*time.Millisecond)
	t.Logf("the replica serves after %v", time.Since(cut).Round(100*time.Millisecond))
	require.Eventually(t, func() bool {
		_, err := f.api.Enqueue(t.Context(), short(0))
		return err == nil
	}, patience, 100*time.Millisecond, "jobs are accepted again")
	t.Logf("jobs are accepted after %v", time.Since(cut).Round(100*time.Millisecond))

	// What was accepted in the moment of the kill may not have been replicated;
	// all that had been comes to rest, and nothing is bought twice.
	var kept []string
	for _, id := range before {
		if _, err := f.api.Get(t.Context(), id); err == nil {
			kept = append(kept, id)
		} else {
			require.True(t, client.IsNotFound(err), "%v", err)
		}
	}
	t.Logf("%d of %d jobs were lost", len(before)-len(kept), len(before))
	require.Len(t, kept, len(before), "they were accepted long before the kill")
	for id, job := range f.awaitRest(kept, 3*patience) {
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", id, job.Error)
	}
	stats, err := f.provider.Stats()
	require.NoError(t, err)
	// Intents of the last moment may not have been replicated either, and are lost
	// with the calls that they announced: intent_durability: replica closes that.
	t.Logf("%d of %d submissions were bought twice", stats.Duplicates, stats.Accepted)
	require.LessOrEqual(t, stats.Duplicates, len(before)/20)
	require.Contains(t, f.easel("doctor"), "Nothing differs.")
}

func awaitReplica(t *testing.T, master *redistest.Server) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: master.Addr()})
	defer func() { _ = rdb.Close() }()
	require.Eventually(t, func() bool {
		info, err := rdb.Info(t.Context(), "replication").Result()
		return err == nil && contains([]byte(info), "state=online")
	}, patience, 20*time.Millisecond)
}

// awaitWatch waits until the sentinels know one another and the replica: before
// that they cannot put anybody in the master's place.
func awaitWatch(t *testing.T, sentinels redistest.Sentinels) {
	t.Helper()
	for _, s := range sentinels {
		rdb := redis.NewSentinelClient(&redis.Options{Addr: s.Addr()})
		require.Eventually(t, func() bool {
			others, err := rdb.Sentinels(t.Context(), redistest.MasterName).Result()
			replicas, errReplicas := rdb.Replicas(t.Context(), redistest.MasterName).Result()
			return err == nil && errReplicas == nil && len(others) == len(sentinels)-1 && len(replicas) == 1
		}, patience, 50*time.Millisecond)
		_ = rdb.Close()
	}
}

func role(t *testing.T, server *redistest.Server) string {
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()
	reply, err := rdb.Do(t.Context(), "ROLE").Slice()
	if err != nil || len(reply) == 0 {
		return ""
	}
	name, _ := reply[0].(string)
	return name
}

// confirming finds a server that has WAITAOF, which came with Redis 7.2.
func confirming(t *testing.T) redistest.Option {
	t.Helper()
	for _, name := range []string{"valkey-server", "redis-server"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		server := redistest.Start(t, redistest.Program(path))
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
		known, err := rdb.Do(t.Context(), "COMMAND", "INFO", "WAITAOF").Slice()
		_ = rdb.Close()
		server.Kill()
		if err == nil && len(known) == 1 && known[0] != nil {
			return redistest.Program(path)
		}
	}
	t.Skip("no valkey-server, and no redis-server of 7.2 or later")
	return nil
}

// TestIntentDurability runs jobs whose intents are confirmed by a real server,
// on its disk and on its replica's; and sees that no call is made without.
func TestIntentDurability(t *testing.T) {
	t.Parallel()
	program := confirming(t)
	for _, durability := range []string{"fsync", "replica"} {
		t.Run(durability, func(t *testing.T) {
			t.Parallel()
			master := redistest.Start(t, program, redistest.AOF("everysec"))
			var replica *redistest.Server
			if durability == "replica" {
				replica = redistest.Start(t, program, redistest.AOF("everysec"), redistest.ReplicaOf(master))
				awaitReplica(t, master)
			}
			f := fleetOn(t, master, master.URL(), ", intent_durability: "+durability)
			f.work(1)
			jobs := f.awaitRest(f.enqueue(20, short), patience)
			f.requireBoughtOnce(jobs)
			for _, job := range jobs {
				require.Equal(t, tasks.StatusCompleted, job.Status)
			}
			if replica == nil {
				return
			}
			replica.Kill()
			bought := f.accepted()
			ids := f.enqueue(3, short)
			rdb := redis.NewClient(&redis.Options{Addr: master.Addr()})
			defer func() { _ = rdb.Close() }()
			require.Eventually(t, func() bool { // each was tried, and put back
				waiting, err := rdb.ZRange(t.Context(), "asynq:{submit:default}:retry", 0, -1).Result()
				if err != nil || len(waiting) < len(ids) {
					return false
				}
				task, err := rdb.HGet(t.Context(), "asynq:{submit:default}:t:"+waiting[0], "msg").Bytes()
				return err == nil && contains(task, "was not confirmed")
			}, patience, 50*time.Millisecond)
			require.Equal(t, bought, f.accepted(), "no paid call without a confirmed intent")
			replica.Restart()
			for id, job := range f.awaitRest(ids, patience) {
				require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", id, job.Error)
			}
			require.Equal(t, bought+3, f.accepted())
		})
	}
}

// TestIntentDurabilityIsRefused: a server that cannot confirm is refused at the
// start, and not found out at the first job.
func TestIntentDurabilityIsRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()
	known, err := rdb.Do(t.Context(), "COMMAND", "INFO", "WAITAOF").Slice()
	require.NoError(t, err)
	if len(known) == 1 && known[0] != nil {
		t.Skip("this server has WAITAOF")
	}
	config := filepath.Join(t.TempDir(), "easel.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
redis: {url: %q, intent_durability: fsync}
data_dir: %q
providers: [{name: sketch, use: sketch}]
`, server.URL(), t.TempDir()), 0o600))
	out, err := exec.CommandContext(t.Context(), filepath.Join(binaries, "worker"), "--config", config).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "redis.intent_durability: fsync needs WAITAOF, which this server does not have: use Redis 7.2 or later, or none")
}

// contains reports whether every word stands in the text.
func contains(text []byte, words ...string) bool {
	for _, word := range words {
		if !bytes.Contains(text, []byte(word)) {
			return false
		}
	}
	return true
}
