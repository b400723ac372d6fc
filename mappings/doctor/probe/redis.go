package probe

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"outgrow/mappings/doctor"
	"outgrow/mappings/env"
)

// redisAddress is one way in which Open WebUI finds Redis. Sentinels go before a
// cluster, a cluster before a single server (utils/redis.py).
type redisAddress struct {
	name, mode string
	url        env.Secret
	sentinels  []string // host:port
	prefix     string   // of the keys, "" for the WebSocket manager
}

// redisAddresses lists that of the app and, where it differs, that of the
// WebSocket manager, which does not inherit the sentinels.
func redisAddresses(d env.Deployment) []redisAddress {
	address := func(name, url, hosts, port string, cluster bool) redisAddress {
		a := redisAddress{name: name, mode: doctor.Single, url: env.Secret(url)}
		for h := range strings.SplitSeq(hosts, ",") {
			if h = strings.TrimSpace(h); h != "" {
				a.mode, a.sentinels = doctor.Sentinel, append(a.sentinels, net.JoinHostPort(h, port))
			}
		}
		if a.mode == doctor.Single && cluster {
			a.mode = doctor.Cluster
		}
		return a
	}
	on := func(name, def string) bool { return strings.EqualFold(get(d, name, def), "true") }
	url := get(d, "REDIS_URL", "")
	var out []redisAddress
	app := address("REDIS_URL", url, get(d, "REDIS_SENTINEL_HOSTS", ""), get(d, "REDIS_SENTINEL_PORT", "26379"), on("REDIS_CLUSTER", "false"))
	app.prefix = get(d, "REDIS_KEY_PREFIX", "open-webui")
	if url != "" {
		out = append(out, app)
	}
	if get(d, "WEBSOCKET_MANAGER", "") != "redis" {
		return out
	}
	socket := address("WEBSOCKET_REDIS_URL", get(d, "WEBSOCKET_REDIS_URL", url), get(d, "WEBSOCKET_SENTINEL_HOSTS", ""), get(d, "WEBSOCKET_SENTINEL_PORT", "26379"),
		on("WEBSOCKET_REDIS_CLUSTER", get(d, "REDIS_CLUSTER", "false")))
	if socket.url != "" && (socket.url != app.url || socket.mode != app.mode || strings.Join(socket.sentinels, ",") != strings.Join(app.sentinels, ",")) {
		out = append(out, socket)
	}
	return out
}

// redis asks the servers behind an address.
func (p *prober) redis(ctx context.Context, a redisAddress) *doctor.Redis {
	out := &doctor.Redis{Server: doctor.Server{Name: a.name, Kind: "Redis"}, Mode: a.mode}
	opt, service, err := options(a.url, a.mode != doctor.Sentinel)
	if err != nil {
		out.Down = err.Error()
		return out
	}
	if a.mode == doctor.Sentinel {
		if opt.Addr = p.master(ctx, a, *opt, service, out); opt.Addr == "" {
			return out
		}
		opt.TLSConfig = nil // Open WebUI does not encrypt with Sentinel
	}
	c := redis.NewClient(opt)
	defer c.Close()
	if err := c.Ping(ctx).Err(); err != nil {
		out.Down = p.why(ctx, err)
		if a.mode == doctor.Sentinel {
			out.Down = "the master that the sentinels name, " + opt.Addr + ": " + out.Down
		}
		return out
	}
	info := facts(ctx, c)
	if v := info["redis_version"]; v != "" {
		out.Kind = "Redis " + v
	}
	if a.mode != doctor.Single {
		out.Kind += " (" + a.mode + ")"
	}
	misplaced(info, out)
	out.Left = p.left(ctx, a, opt)
	if out.Wrong != "" {
		return out
	}
	if a.mode == doctor.Cluster {
		if err := p.cluster(ctx, opt, out); err != nil {
			out.Down = "the nodes that the cluster names: " + p.why(ctx, err)
		}
		return out
	}
	out.Nodes = []doctor.RedisNode{p.node(ctx, c, info)}
	return out
}

// misplaced compares what kind of server answers with what the variables say.
func misplaced(info map[string]string, out *doctor.Redis) {
	switch mode := info["redis_mode"]; {
	case mode == "sentinel":
		out.Wrong, out.Fix = "it is a sentinel", "REDIS_SENTINEL_HOSTS=HOST,HOST,HOST and REDIS_URL=redis://SERVICE/0"
	case mode == "cluster" && out.Mode == doctor.Single:
		out.Wrong, out.Fix = "it is a node of a cluster", "REDIS_CLUSTER=true"
	case mode == "standalone" && out.Mode == doctor.Cluster:
		out.Wrong, out.Fix = "it is no node of a cluster", "REDIS_CLUSTER=false"
	case info["role"] == "slave" && out.Mode == doctor.Single:
		out.Wrong, out.Fix = "it is a replica, which takes no writes", out.Name+"=the master's address, or REDIS_SENTINEL_HOSTS"
	}
}

// left looks for keys that win over the database.
func (p *prober) left(ctx context.Context, a redisAddress, opt *redis.Options) doctor.Value[[]string] {
	var found []string
	if a.prefix == "" {
		return doctor.Told(found)
	}
	single, many := redis.NewClient(opt), redis.NewClusterClient(clustered(opt))
	defer single.Close()
	defer many.Close()
	exists := single.Exists
	if a.mode == doctor.Cluster {
		exists = many.Exists
	}
	for _, name := range []string{"models:base", "tool_servers", "terminal_servers"} {
		n, err := exists(ctx, a.prefix+":"+name).Result()
		if err != nil {
			return doctor.Untold[[]string]("Redis does not tell its keys: " + p.why(ctx, err))
		}
		if n > 0 {
			found = append(found, a.prefix+":"+name)
		}
	}
	return doctor.Told(found)
}

// cluster asks every master.
func (p *prober) cluster(ctx context.Context, opt *redis.Options, out *doctor.Redis) error {
	c := redis.NewClusterClient(clustered(opt))
	defer c.Close()
	var mu sync.Mutex
	return c.ForEachMaster(ctx, func(ctx context.Context, one *redis.Client) error {
		if err := one.Ping(ctx).Err(); err != nil {
			return err
		}
		n := p.node(ctx, one, facts(ctx, one))
		mu.Lock()
		defer mu.Unlock()
		out.Nodes = append(out.Nodes, n)
		return nil
	})
}

// quiet makes a connection that asks once and sends nothing of its own.
func quiet(opt *redis.Options) *redis.Options {
	opt.Protocol, opt.DisableIdentity, opt.MaxRetries, opt.DialerRetries, opt.PoolSize = 2, true, -1, 1, 2
	opt.ContextTimeoutEnabled = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return opt
}

func clustered(opt *redis.Options) *redis.ClusterOptions {
	return &redis.ClusterOptions{Addrs: []string{opt.Addr}, Username: opt.Username, Password: opt.Password, TLSConfig: opt.TLSConfig,
		Protocol: 2, DisableIdentity: true, MaxRetries: -1, MaxRedirects: 3, PoolSize: 2, ContextTimeoutEnabled: true, MaintNotificationsConfig: opt.MaintNotificationsConfig}
}

func encrypted(host string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
}
