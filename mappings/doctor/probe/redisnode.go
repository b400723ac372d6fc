package probe

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"outgrow/mappings/doctor"
)

// facts are the lines of INFO, empty where it is denied.
func facts(ctx context.Context, c *redis.Client) map[string]string {
	out := map[string]string{}
	text, err := c.Info(ctx).Result()
	if err != nil {
		return out
	}
	for line := range strings.Lines(text) {
		if name, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			out[name] = v
		}
	}
	return out
}

// node asks a server that takes writes for its settings. A denied CONFIG leaves
// them unknown.
func (p *prober) node(ctx context.Context, c *redis.Client, info map[string]string) doctor.RedisNode {
	setting := func(name string) doctor.Value[string] {
		m, err := c.ConfigGet(ctx, name).Result()
		if err != nil {
			return doctor.Untold[string]("Redis does not tell its settings (CONFIG GET): " + p.why(ctx, err))
		}
		v, ok := m[name]
		if !ok {
			return doctor.Untold[string]("Redis has no setting " + name)
		}
		return doctor.Told(v)
	}
	n := doctor.RedisNode{Timeout: whole(setting("timeout")), MaxClients: whole(setting("maxclients")), Policy: setting("maxmemory-policy"),
		Append: setting("appendonly"), Fsync: setting("appendfsync"), PubSub: limits(setting("client-output-buffer-limit"))}
	if v, err := strconv.Atoi(info["maxclients"]); n.MaxClients.Why != "" && err == nil {
		n.MaxClients = doctor.Told(v)
	}
	n.Disconnections = doctor.Untold[int]("Redis does not tell its statistics (INFO)")
	if v, ok := info["client_output_buffer_limit_disconnections"]; ok {
		n.Disconnections = whole(doctor.Told(v))
	} else if len(info) > 0 {
		n.Disconnections = doctor.Told(0) // Redis counts them from 7.4 on; the limit itself is looked at, too
	}
	return n
}

// whole reads a number.
func whole(v doctor.Value[string]) doctor.Value[int] {
	if v.Why != "" {
		return doctor.Untold[int](v.Why)
	}
	n, err := strconv.Atoi(v.V)
	if err != nil {
		return doctor.Untold[int](fmt.Sprintf("Redis says %q, which is no number", v.V))
	}
	return doctor.Told(n)
}

// limits reads those of the class pubsub: "normal 0 0 0 slave … pubsub HARD SOFT
// SECONDS".
func limits(v doctor.Value[string]) doctor.Value[[3]int64] {
	if v.Why != "" {
		return doctor.Untold[[3]int64](v.Why)
	}
	_, after, ok := strings.Cut(v.V, "pubsub ")
	var l [3]int64
	if n, err := fmt.Sscan(after, &l[0], &l[1], &l[2]); !ok || err != nil || n != 3 {
		return doctor.Untold[[3]int64]("Redis tells no limits of the class pubsub")
	}
	return doctor.Told(l)
}
