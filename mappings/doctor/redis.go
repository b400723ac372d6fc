package doctor

import (
	"net/url"
	"strings"
)

func redisChecks() []check {
	return []check{
		{"D12", Must, "REDIS_URL", "a Redis that all processes share", "users are signed out at random, settings are not seen everywhere, \"Model not found\"",
			func(f Facts) (string, string) {
				return when(f.several() && f.get("REDIS_URL") == "", "not set", "REDIS_URL=redis://HOST:6379/0")
			}},
		{"D12", Must, "REDIS_URL", "redis:// or rediss://", "Open WebUI cannot connect",
			func(f Facts) (string, string) {
				scheme, _, _ := strings.Cut(f.get("REDIS_URL"), "://")
				return when(f.get("REDIS_URL") != "" && scheme != "redis" && scheme != "rediss", "another scheme, or none", "REDIS_URL=redis://HOST:6379/0")
			}},
		{"D13", Must, "ENABLE_WEBSOCKET_SUPPORT", "true", "clients poll, and a poll that reaches another process is refused",
			func(f Facts) (string, string) {
				return when(f.several() && !f.is("ENABLE_WEBSOCKET_SUPPORT", true), "not true", "ENABLE_WEBSOCKET_SUPPORT=true")
			}},
		{"D13", Must, "WEBSOCKET_MANAGER", "redis, in lower case", "chats hang, WebSocket 403",
			func(f Facts) (string, string) {
				return when(f.several() && f.get("WEBSOCKET_MANAGER") != "redis", "not redis", "WEBSOCKET_MANAGER=redis")
			}},
		{"D13", Must, "WEBSOCKET_SENTINEL_HOSTS", "the sentinels, as in REDIS_SENTINEL_HOSTS: this one is not inherited", "the WebSocket manager takes the service's name for a host",
			func(f Facts) (string, string) {
				return when(f.sentinel() && f.get("WEBSOCKET_MANAGER") == "redis" && f.get("WEBSOCKET_SENTINEL_HOSTS") == "" && f.get("WEBSOCKET_REDIS_URL") == "",
					"not set, while REDIS_SENTINEL_HOSTS is", "WEBSOCKET_SENTINEL_HOSTS=HOST,HOST,HOST")
			}},
		{"D19", Should, "REDIS_HEALTH_CHECK_INTERVAL", "60, below the server's timeout", "\"Connection reset by peer\" after a quiet time",
			func(f Facts) (string, string) {
				n, _ := f.number("REDIS_HEALTH_CHECK_INTERVAL")
				return when(f.get("REDIS_URL") != "" && n <= 0, "not set", "REDIS_HEALTH_CHECK_INTERVAL=60")
			}},
		{"D20", Must, "REDIS_SOCKET_CONNECT_TIMEOUT", "5 with Sentinel", "Open WebUI hangs when a master fails, or at its start",
			func(f Facts) (string, string) {
				return when(f.sentinel() && f.get("REDIS_SOCKET_CONNECT_TIMEOUT") == "", "not set", "REDIS_SOCKET_CONNECT_TIMEOUT=5")
			}},
		{"D21", Must, "REDIS_SENTINEL_HOSTS", "host names alone; the port of all is REDIS_SENTINEL_PORT", "no sentinel is found: what stands before the comma is taken for a name, port included",
			func(f Facts) (string, string) {
				return when(strings.Contains(f.get("REDIS_SENTINEL_HOSTS"), ":"), "a host with a port", "REDIS_SENTINEL_HOSTS=HOST,HOST,HOST")
			}},
		{"D21", Must, "REDIS_URL", "a password without percent signs with Sentinel: it is not decoded there", "WRONGPASS",
			func(f Facts) (string, string) {
				url := f.get("REDIS_URL")
				return when(f.sentinel() && strings.Contains(url[:strings.LastIndexByte(url, '@')+1], "%"), "user or password are percent-encoded", "REDIS_URL=redis://USER:PASSWORD@SERVICE/0 with the password as it is")
			}},
		{"D21", Must, "REDIS_URL", "database 0 with a cluster, which has no other", "Open WebUI cannot connect",
			func(f Facts) (string, string) {
				u, err := url.Parse(f.get("REDIS_URL"))
				return when(f.is("REDIS_CLUSTER", false) && !f.sentinel() && err == nil && strings.Trim(u.Path, "/0") != "", "another database", "REDIS_URL=redis://HOST:6379/0")
			}},
		{"D46", Should, "ENABLE_STAR_SESSIONS_MIDDLEWARE", "off with Sentinel and Cluster", "signing in fails",
			func(f Facts) (string, string) {
				return when((f.sentinel() || f.is("REDIS_CLUSTER", false)) && f.is("ENABLE_STAR_SESSIONS_MIDDLEWARE", false), "true", "ENABLE_STAR_SESSIONS_MIDDLEWARE=false")
			}},
	}
}

// sentinel reports whether Redis is found through sentinels.
func (f Facts) sentinel() bool { return f.get("REDIS_SENTINEL_HOSTS") != "" }
