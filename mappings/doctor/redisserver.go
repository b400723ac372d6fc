package doctor

import (
	"fmt"
	"strings"
)

// What Open WebUI's documentation asks of Redis (tutorials/integrations/redis).
const (
	idleTimeout = 1800   // seconds
	maxClients  = 10_000 // connections
	pubSubHard  = 256 << 20
)

// onRedis looks at every server that takes writes, of every address. A finding
// goes before what is not known.
func onRedis(look func(RedisNode) verdict) func(Facts) verdict {
	return onAddress(func(r *Redis) verdict {
		var open verdict
		for _, n := range r.Nodes {
			v := look(n)
			if v.found != "" {
				if len(r.Nodes) > 1 {
					v.found += ", on a node at least"
				}
				return v
			}
			if v.unknown != "" {
				open = v
			}
		}
		return open
	})
}

// onAddress looks at every address that answers.
func onAddress(look func(*Redis) verdict) func(Facts) verdict {
	return func(f Facts) verdict {
		var open verdict
		for _, r := range f.Answers.Redis {
			v := unknown(r.Name + " does not answer")
			if r.Down == "" {
				v = look(r)
			}
			if v.found != "" {
				if len(f.Answers.Redis) > 1 {
					v.found = r.Name + ": " + v.found
				}
				return v
			}
			if v.unknown != "" {
				open = v
			}
		}
		return open
	}
}

// value looks at one that the server may not tell.
func value[T any](v Value[T], look func(T) verdict) verdict {
	if v.Why != "" {
		return unknown(v.Why)
	}
	return look(v.V)
}

// down is a check whether the addresses of these names answer.
func down(name string) func(Facts) verdict {
	return func(f Facts) verdict {
		for _, r := range f.Answers.Redis {
			if strings.HasPrefix(r.Name, "WEBSOCKET") == (name == "WEBSOCKET_REDIS_URL") && r.Down != "" {
				return verdict{found: r.Down, line: "correct " + r.Name + ", or start the server"}
			}
		}
		return verdict{}
	}
}

func redisServerChecks() []check {
	return []check{
		{"D12", Must, "REDIS_URL", "a server that answers PING", "users are signed out at random, settings are not seen everywhere", down("REDIS_URL"), false},
		{"D13", Must, "WEBSOCKET_REDIS_URL", "a server that answers PING", "chats hang, WebSocket 403", down("WEBSOCKET_REDIS_URL"), false},
		{"D21", Must, "what kind of Redis it is", "what REDIS_CLUSTER and REDIS_SENTINEL_HOSTS say", "MovedError, READONLY, or no connection at all",
			onAddress(func(r *Redis) verdict { return when(r.Wrong != "", r.Wrong, r.Fix) }), false},
		{"D21", Should, "the sentinels", "all of them reachable, and a quorum", "no failover when the master fails",
			onAddress(func(r *Redis) verdict {
				return when(r.Quorum != "", r.Quorum, "start the missing sentinels, or correct REDIS_SENTINEL_HOSTS")
			}), false},
		{"D15", Must, "Redis: timeout", "1800", "connections pile up for weeks, then every login fails: \"max number of clients reached\"",
			onRedis(func(n RedisNode) verdict {
				return value(n.Timeout, func(s int) verdict {
					return when(s == 0, "0: idle connections are never closed", fmt.Sprintf("CONFIG SET timeout %d, and in redis.conf", idleTimeout))
				})
			}), false},
		{"D15", Must, "Redis: maxclients", "10000 or more", "every login fails: \"max number of clients reached\"",
			onRedis(func(n RedisNode) verdict {
				return value(n.MaxClients, func(s int) verdict {
					return when(s < maxClients, fmt.Sprint(s), fmt.Sprintf("CONFIG SET maxclients %d, and in redis.conf", maxClients))
				})
			}), false},
		{"D19", Should, "REDIS_HEALTH_CHECK_INTERVAL and Redis's timeout", "an interval shorter than the timeout", "\"Connection reset by peer\" after a quiet time", healthCheck, false},
		{"D16", Must, "Redis: maxmemory-policy", "noeviction; volatile-* is tolerated", "revoked tokens come back, sessions vanish",
			onRedis(func(n RedisNode) verdict {
				return value(n.Policy, func(s string) verdict {
					return when(strings.HasPrefix(s, "allkeys-"), s, "CONFIG SET maxmemory-policy noeviction, and in redis.conf")
				})
			}), false},
		{"D17", Should, "Redis: appendonly", "yes, with appendfsync everysec", "after a crash signed-out sessions work again",
			onRedis(func(n RedisNode) verdict {
				return value(n.Append, func(s string) verdict {
					return when(s != "yes", s, "CONFIG SET appendonly yes, and in redis.conf")
				})
			}), false},
		{"D17", Should, "Redis: appendfsync", "everysec, or always", "after a crash signed-out sessions work again",
			onRedis(func(n RedisNode) verdict {
				return value(n.Fsync, func(s string) verdict {
					return when(s == "no", s, "CONFIG SET appendfsync everysec, and in redis.conf")
				})
			}), false},
		{"D18", Should, "Redis: client-output-buffer-limit pubsub", "1 GB, 256 MB for 180 s", "\"Cannot publish to redis... giving up\", streams stall",
			onRedis(func(n RedisNode) verdict {
				return value(n.PubSub, func(l [3]int64) verdict {
					return when(l[0] > 0 && l[0] < pubSubHard, fmt.Sprintf("%d MB at most", l[0]>>20), "CONFIG SET client-output-buffer-limit \"pubsub 1gb 256mb 180\", and in redis.conf")
				})
			}), false},
		{"D18", Should, "Redis: client_output_buffer_limit_disconnections", "0", "\"Cannot publish to redis... giving up\", streams stall",
			onRedis(func(n RedisNode) verdict {
				return value(n.Disconnections, func(c int) verdict {
					return when(c > 0, fmt.Sprintf("%d since the server was started", c), "CONFIG SET client-output-buffer-limit \"pubsub 1gb 256mb 180\", and in redis.conf")
				})
			}), false},
		{"D44", Should, "keys of Open WebUI that are in Redis already", "none before the first start: they win over the database", "models and tool servers of a rehearsal are shown",
			onAddress(func(r *Redis) verdict {
				return value(r.Left, func(keys []string) verdict {
					return when(len(keys) > 0, strings.Join(keys, ", "), "before the first start: redis-cli DEL "+strings.Join(keys, " "))
				})
			}), false},
	}
}

func healthCheck(f Facts) verdict {
	interval, _ := f.number("REDIS_HEALTH_CHECK_INTERVAL")
	return onRedis(func(n RedisNode) verdict {
		return value(n.Timeout, func(s int) verdict {
			return when(s > 0 && interval >= s, fmt.Sprintf("%d, and the timeout is %d", interval, s), "REDIS_HEALTH_CHECK_INTERVAL="+fmt.Sprint(max(min(60, s/2), 1)))
		})
	})(f)
}
