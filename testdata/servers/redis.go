package servers

import "testing"

// RedisServer is a running Redis.
type RedisServer struct {
	process
	Port int // on 127.0.0.1
}

// StartRedis starts a Redis of the test's own, which ends with the test; "" for
// no password.
func StartRedis(tb testing.TB, password string) *RedisServer {
	tb.Helper()
	s := &RedisServer{process: newRedis(tb, "single", password)}
	s.begin(tb, &s.Port)
	return s
}

// RedisSentinels are a master, whose name is MyMaster, and three sentinels.
type RedisSentinels struct {
	process
	Port   int      // of every sentinel
	Hosts  []string // of the sentinels
	Master int      // the master's port on 127.0.0.1
}

// StartRedisSentinels starts them; they end with the test. The password is the
// master's: the sentinels have none.
func StartRedisSentinels(tb testing.TB, password string) *RedisSentinels {
	tb.Helper()
	s := &RedisSentinels{process: newRedis(tb, "sentinel", password), Hosts: []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}}
	s.begin(tb, &s.Port, &s.Master)
	return s
}

// RedisCluster is a cluster of three masters.
type RedisCluster struct {
	process
	Ports [3]int // on 127.0.0.1
}

// StartRedisCluster starts one, which ends with the test.
func StartRedisCluster(tb testing.TB, password string) *RedisCluster {
	tb.Helper()
	s := &RedisCluster{process: newRedis(tb, "cluster", password)}
	s.begin(tb, &s.Ports[0], &s.Ports[1], &s.Ports[2])
	return s
}

func newRedis(tb testing.TB, kind, password string) process {
	tb.Helper()
	return newProcess(tb, "redis.sh", "REDIS_KIND="+kind, "REDIS_PASSWORD="+password)
}

// begin starts the servers in a folder that goes with the test.
func (p *process) begin(tb testing.TB, into ...any) {
	tb.Helper()
	p.dir = tb.TempDir()
	if err := p.run("hold", into...); err != nil {
		Skip(tb, "no server by %s: %v", p.script, err)
	}
	tb.Cleanup(p.Stop)
}
