package probe_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"outgrow/mappings/doctor"
	"outgrow/testdata/servers"
)

var redisIDs = []string{"D12", "D13", "D15", "D16", "D17", "D18", "D21", "D44"}

// do runs a command of Redis.
func do(t *testing.T, c *redis.Client, args ...any) {
	t.Helper()
	if err := c.Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args[:2], err)
	}
}

// healthy sets a server up as Open WebUI's documentation asks.
func healthy(t *testing.T, port int, password string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port), Password: password})
	t.Cleanup(func() { _ = c.Close() })
	for name, v := range map[string]string{"timeout": "1800", "appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction",
		"client-output-buffer-limit": "pubsub 1gb 256mb 180"} {
		do(t, c, "CONFIG", "SET", name, v)
	}
	return c
}

// clients is what a server says of maxclients: 10000, or what its machine lets
// it open.
func clients(f doctor.Facts) bool {
	return len(f.Answers.Redis) > 0 && len(f.Answers.Redis[0].Nodes) > 0 && f.Answers.Redis[0].Nodes[0].MaxClients.V >= 10_000
}

func TestRedisSingle(t *testing.T) {
	t.Parallel()
	const password = "p@ss:w0rd"
	s := servers.StartRedis(t, password)
	url := fmt.Sprintf("redis://:p%%40ss%%3Aw0rd@127.0.0.1:%d/0", s.Port)
	look := func(more set) doctor.Facts {
		vars := set{"REDIS_URL": url, "REDIS_HEALTH_CHECK_INTERVAL": "60"}
		for k, v := range more {
			vars[k] = v
		}
		f := asked(t, vars)
		f.Replicas = 1
		return f
	}
	f := look(nil)
	expect(t, "as it is installed", withoutClients(f), "D15: 0: idle", "D17: no", "D18: 32 MB")
	if kind := f.Answers.Redis[0].Kind; !strings.HasPrefix(kind, "Redis ") {
		t.Errorf("it is %q", kind)
	}
	c := healthy(t, s.Port, password)
	if f = look(nil); clients(f) {
		expect(t, "set up", found(f, redisIDs...))
	}
	do(t, c, "CONFIG", "SET", "maxclients", "50")
	expect(t, "few clients", found(look(nil), "D15"), "D15: 50")
	do(t, c, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	expect(t, "evicts", found(look(nil), "D16"), "D16: allkeys-lru")
	do(t, c, "SET", "open-webui:tool_servers", "[]")
	expect(t, "a rehearsal's key", found(look(nil), "D44"), "D44: open-webui:tool_servers")
	expect(t, "another prefix", found(look(set{"REDIS_KEY_PREFIX": "mine"}), "D44"))

	do(t, c, "ACL", "SETUSER", "app", "on", ">s3cretpw", "~*", "&*", "+@all", "-@admin", "-@dangerous")
	app := look(set{"REDIS_URL": fmt.Sprintf("redis://app:s3cretpw@127.0.0.1:%d", s.Port)})
	expect(t, "CONFIG denied", found(app, "D12", "D15", "D16", "D17", "D18"), "D15?", "D16?", "D17?", "D18?")

	wrong := look(set{"REDIS_URL": fmt.Sprintf("redis://:wr0ngpass@127.0.0.1:%d", s.Port)})
	expect(t, "wrong password", found(wrong, "D12", "D16"), "D12: WRONGPASS", "D16?")
	expect(t, "as a cluster", found(look(set{"REDIS_CLUSTER": "true"}), "D21"), "D21: no node of a cluster")
	socket := look(set{"WEBSOCKET_MANAGER": "redis", "WEBSOCKET_REDIS_URL": "redis://127.0.0.1:1/0"})
	expect(t, "WebSocket's own address", found(socket, "D12", "D13"), "D13: refused")
	do(t, c, "REPLICAOF", "127.0.0.1", "1")
	expect(t, "a replica", found(look(nil), "D12", "D21"), "D21: a replica")
}

// withoutClients leaves maxclients out, which the machine may lower.
func withoutClients(f doctor.Facts) []string {
	var out []string
	for _, s := range found(f, redisIDs...) {
		if clients(f) || !strings.HasPrefix(s, "D15") || strings.Contains(s, "idle") {
			out = append(out, s)
		}
	}
	return out
}

func TestRedisSentinel(t *testing.T) {
	t.Parallel()
	const password = "s3cretpw"
	s := servers.StartRedisSentinels(t, password)
	healthy(t, s.Master, password)
	look := func(service, hosts string) doctor.Facts {
		f := asked(t, set{"REDIS_URL": "redis://:" + password + "@" + service + "/0", "REDIS_SENTINEL_HOSTS": hosts, "REDIS_SENTINEL_PORT": fmt.Sprint(s.Port),
			"REDIS_SOCKET_CONNECT_TIMEOUT": "5", "REDIS_HEALTH_CHECK_INTERVAL": "60"})
		f.Replicas = 1
		return f
	}
	all := strings.Join(s.Hosts, ", ")
	f := look("MyMaster", all)
	if clients(f) {
		expect(t, "set up", found(f, redisIDs...))
	}
	if kind := f.Answers.Redis[0].Kind; !strings.HasSuffix(kind, "(Sentinel)") {
		t.Errorf("it is %q", kind)
	}
	expect(t, "the name's case", found(look("mymaster", all), "D12", "D21", "D15"), "D21: they know MyMaster")
	expect(t, "one is missing", found(look("MyMaster", all+",127.0.0.9"), "D12", "D21"), "D21: 3 of 4 answer")
	expect(t, "none", found(look("MyMaster", "127.0.0.9"), "D12", "D16"), "D12: no sentinel answers", "D16?")
}

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	s := servers.StartRedisCluster(t, "")
	var c *redis.Client
	for _, port := range s.Ports {
		c = healthy(t, port, "")
	}
	at := func(cluster string) doctor.Facts {
		f := asked(t, set{"REDIS_URL": fmt.Sprintf("redis://127.0.0.1:%d", s.Ports[0]), "REDIS_CLUSTER": cluster, "REDIS_HEALTH_CHECK_INTERVAL": "60"})
		f.Replicas = 1
		return f
	}
	f := at("true")
	if n := len(f.Answers.Redis[0].Nodes); n != 3 {
		t.Errorf("%d nodes were asked", n)
	}
	if clients(f) {
		expect(t, "set up", found(f, redisIDs...))
	}
	do(t, c, "CONFIG", "SET", "timeout", "0")
	expect(t, "one node", found(at("true"), "D15"), "D15: on a node at least")
	expect(t, "as a single server", found(at("false"), "D12", "D21"), "D21: a node of a cluster")
}
