package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Warning is something about the Redis server that puts jobs at risk, and
// does not keep the program from running.
type Warning struct {
	Code    string
	Message string
}

// The codes of a [Warning].
const (
	WarningUnreachable = "redis_unreachable"
	WarningUnknown     = "redis_unknown"
	WarningVersion     = "redis_version"
	WarningCluster     = "redis_cluster"
	WarningEviction    = "redis_eviction"
	WarningPersistence = "redis_persistence"
	WarningReadOnly    = "redis_replica"
	WarningHeld        = "submits_held"
)

// Check looks at how the server is set up and says what is wrong with it.
func (s *Store) Check(ctx context.Context) []Warning {
	info, err := s.info(ctx)
	if err != nil {
		return []Warning{{WarningUnreachable, err.Error()}}
	}
	warnings := info.warnings()
	if since, err := s.SubmitsHeld(ctx); err == nil && !since.IsZero() {
		warnings = append(warnings, Warning{WarningHeld, "Redis was restored from a backup, or lost writes in a failover: since " +
			since.Format(time.RFC3339) + " nothing is submitted; run easel doctor --after-restore"})
	}
	return warnings
}

// serverInfo is what INFO answers, by field.
type serverInfo map[string]string

func (s *Store) info(ctx context.Context) (serverInfo, error) {
	text, err := s.redis.Info(ctx).Result()
	if err != nil {
		return nil, s.failed("read server info", err)
	}
	info := serverInfo{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info, nil
}

var (
	errCluster = errors.New("this server is part of a Redis Cluster, which is not supported: use a single Redis, or Sentinel")
	errVersion = errors.New("this server is too old: use Redis 6.2 or later")
)

// refuse says why the server cannot be used at all.
func (i serverInfo) refuse() error {
	switch {
	case i.clustered():
		return errCluster
	case i.known() && !i.atLeast(6, 2):
		return fmt.Errorf("%w, not %s", errVersion, i["redis_version"])
	default:
		return nil
	}
}

func (i serverInfo) warnings() []Warning {
	if !i.known() {
		return []Warning{{WarningUnknown, "the server does not say what it is: it may be one that keeps nothing"}}
	}
	var warnings []Warning
	warn := func(bad bool, code, message string) {
		if bad {
			warnings = append(warnings, Warning{code, message})
		}
	}
	warn(!i.atLeast(6, 2), WarningVersion, errVersion.Error())
	warn(i.clustered(), WarningCluster, errCluster.Error())
	warn(i["role"] == "slave", WarningReadOnly, "the server is a replica: nothing can be written to it")
	policy := i["maxmemory_policy"]
	warn(policy != "" && policy != "noeviction", WarningEviction,
		"maxmemory-policy is "+policy+": a full Redis forgets jobs instead of refusing new ones; set noeviction")
	warn(i["aof_enabled"] == "0", WarningPersistence,
		"appendonly is off: jobs accepted since the last snapshot are lost when Redis ends; set appendonly yes")
	return warnings
}

func (i serverInfo) known() bool { return i["redis_version"] != "" }

func (i serverInfo) clustered() bool {
	return i["cluster_enabled"] == "1" || i["redis_mode"] == "cluster"
}

func (i serverInfo) atLeast(major, minor int) bool {
	majorText, rest, _ := strings.Cut(i["redis_version"], ".")
	minorText, _, _ := strings.Cut(rest, ".")
	gotMajor, _ := strconv.Atoi(majorText)
	gotMinor, _ := strconv.Atoi(minorText)
	return gotMajor > major || gotMajor == major && gotMinor >= minor
}

// checkLayout writes down the layout of the keys on a new server, and refuses
// one that a newer release has changed.
func (s *Store) checkLayout(ctx context.Context) error {
	if err := s.redis.SetNX(ctx, keySchema, layout, 0).Err(); err != nil {
		return s.failed("write layout version", err)
	}
	found, err := s.redis.Get(ctx, keySchema).Result()
	if err != nil {
		return s.failed("read layout version", err)
	}
	if n, err := strconv.Atoi(found); err != nil || n > layout {
		return fmt.Errorf("redis holds jobs in layout %q, and this release knows up to %d: run a newer release", found, layout)
	}
	return nil
}
