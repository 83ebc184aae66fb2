package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// usage is what Redis says of itself at one moment. All but memory and clients only grow.
type usage struct {
	at       time.Time
	commands float64 // that ran, those inside of scripts too
	scripts  float64
	bytesIn  float64
	bytesOut float64
	cpu      float64 // microseconds
	memory   float64 // bytes in use now
	clients  float64 // connected now
}

// look asks Redis. The look itself is not counted among the commands.
func (l *lab) look(ctx context.Context) (usage, error) {
	text, err := l.admin.Info(ctx, "all").Result()
	if err != nil {
		return usage{}, fmt.Errorf("look at redis: %w", err)
	}
	return parseUsage(text, time.Now())
}

func parseUsage(text string, at time.Time) (usage, error) {
	u := usage{at: at}
	cpu := 0.0
	fields := map[string]*float64{
		"total_net_input_bytes": &u.bytesIn, "total_net_output_bytes": &u.bytesOut, "used_memory": &u.memory,
		"connected_clients": &u.clients,
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch field := fields[name]; {
		case field != nil:
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return usage{}, fmt.Errorf("redis says %s is %q", name, value)
			}
			*field = n
		case name == "used_cpu_user" || name == "used_cpu_sys":
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return usage{}, fmt.Errorf("redis says %s is %q", name, value)
			}
			cpu += n
		case strings.HasPrefix(name, "cmdstat_"):
			n, err := calls(value)
			if err != nil {
				return usage{}, fmt.Errorf("redis says %s is %q", name, value)
			}
			u.count(strings.TrimPrefix(name, "cmdstat_"), n)
		}
	}
	u.cpu = cpu * 1e6
	return u, nil
}

// calls reads "calls=21,usec=175,…".
func calls(stats string) (float64, error) {
	first, _, _ := strings.Cut(stats, ",")
	return strconv.ParseFloat(strings.TrimPrefix(first, "calls="), 64)
}

func (u *usage) count(command string, calls float64) {
	switch command {
	case "info":
		return // that is us, looking
	case "eval", "evalsha":
		u.scripts += calls
	}
	u.commands += calls
}

// cost is traffic, of one job or of one second.
type cost struct {
	RoundTrips float64 `json:"round_trips"`
	Scripts    float64 `json:"scripts"`
	Commands   float64 `json:"commands"`
	BytesIn    float64 `json:"bytes_in"`
	BytesOut   float64 `json:"bytes_out"`
	CPU        float64 `json:"cpu_us"`
}

// costBetween is what came to pass between two looks; round trips are counted
// elsewhere.
func costBetween(before, after usage) cost {
	return cost{
		Scripts: after.scripts - before.scripts, Commands: after.commands - before.commands,
		BytesIn: after.bytesIn - before.bytesIn, BytesOut: after.bytesOut - before.bytesOut, CPU: after.cpu - before.cpu,
	}
}

// minus is c without n times other.
func (c cost) minus(n float64, other cost) cost {
	return cost{
		RoundTrips: c.RoundTrips - n*other.RoundTrips, Scripts: c.Scripts - n*other.Scripts, Commands: c.Commands - n*other.Commands,
		BytesIn: c.BytesIn - n*other.BytesIn, BytesOut: c.BytesOut - n*other.BytesOut, CPU: c.CPU - n*other.CPU,
	}
}

// by divides c by n.
func (c cost) by(n float64) cost {
	return cost{
		RoundTrips: c.RoundTrips / n, Scripts: c.Scripts / n, Commands: c.Commands / n,
		BytesIn: c.BytesIn / n, BytesOut: c.BytesOut / n, CPU: c.CPU / n,
	}
}
