package doctor

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

func redisChecks() []check {
	return []check{
		{"D12", Must, "REDIS_URL", "a Redis that all processes share", "users are signed out at random, settings are not seen everywhere, \"Model not found\"",
			func(f Facts) verdict {
				return when(f.several() && f.get("REDIS_URL") == "", "not set", "REDIS_URL=redis://HOST:6379/0")
			}, false},
		{"D12", Must, "REDIS_URL", "redis:// or rediss://", "Open WebUI cannot connect",
			func(f Facts) verdict {
				scheme, _, _ := strings.Cut(f.get("REDIS_URL"), "://")
				return when(f.get("REDIS_URL") != "" && scheme != "redis" && scheme != "rediss", "another scheme, or none", "REDIS_URL=redis://HOST:6379/0")
			}, false},
		{"D13", Must, "ENABLE_WEBSOCKET_SUPPORT", "true", "clients poll, and a poll that reaches another process is refused",
			func(f Facts) verdict {
				return when(f.several() && !f.is("ENABLE_WEBSOCKET_SUPPORT", true), "not true", "ENABLE_WEBSOCKET_SUPPORT=true")
			}, false},
		{"D13", Must, "WEBSOCKET_MANAGER", "redis, in lower case", "chats hang, WebSocket 403",
			func(f Facts) verdict {
				return when(f.several() && f.get("WEBSOCKET_MANAGER") != "redis", "not redis", "WEBSOCKET_MANAGER=redis")
			}, false},
		{"D13", Must, "WEBSOCKET_SENTINEL_HOSTS", "the sentinels, as in REDIS_SENTINEL_HOSTS: this one is not inherited", "the WebSocket manager takes the service's name for a host",
			func(f Facts) verdict {
				return when(f.sentinel() && f.get("WEBSOCKET_MANAGER") == "redis" && f.get("WEBSOCKET_SENTINEL_HOSTS") == "" && f.get("WEBSOCKET_REDIS_URL") == "",
					"not set, while REDIS_SENTINEL_HOSTS is", "WEBSOCKET_SENTINEL_HOSTS=HOST,HOST,HOST")
			}, false},
		{"D19", Should, "REDIS_HEALTH_CHECK_INTERVAL", "60, below the server's timeout", "\"Connection reset by peer\" after a quiet time",
			func(f Facts) verdict {
				n, _ := f.number("REDIS_HEALTH_CHECK_INTERVAL")
				return when(f.get("REDIS_URL") != "" && n <= 0, "not set", "REDIS_HEALTH_CHECK_INTERVAL=60")
			}, false},
		{"D20", Must, "REDIS_SOCKET_CONNECT_TIMEOUT", "5 with Sentinel", "Open WebUI hangs when a master fails, or at its start",
			func(f Facts) verdict {
				return when(f.sentinel() && f.get("REDIS_SOCKET_CONNECT_TIMEOUT") == "", "not set", "REDIS_SOCKET_CONNECT_TIMEOUT=5")
			}, false},
		{"D20", Must, "WEBSOCKET_REDIS_OPTIONS", "JSON with socket_connect_timeout, where it is set: REDIS_SOCKET_CONNECT_TIMEOUT is then not used", "the WebSocket manager hangs when a master fails",
			func(f Facts) verdict {
				raw := f.get("WEBSOCKET_REDIS_OPTIONS")
				if raw == "" || !f.sentinel() {
					return verdict{}
				}
				var options map[string]any
				err := json.Unmarshal([]byte(raw), &options)
				return when(err != nil || options["socket_connect_timeout"] == nil, "no socket_connect_timeout in it", `WEBSOCKET_REDIS_OPTIONS={"socket_connect_timeout": 5}`)
			}, false},
		{"D21", Should, "REDIS_URL", "an address that every instance reaches", "in a container localhost is the container itself",
			func(f Facts) verdict {
				u, err := url.Parse(f.get("REDIS_URL"))
				return when(err == nil && f.Replicas > 1 && !f.sentinel() && slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname()), "this machine's own address", "REDIS_URL=redis://HOST:6379/0")
			}, false},
		{"D21", Must, "REDIS_SENTINEL_HOSTS", "host names alone; the port of all is REDIS_SENTINEL_PORT", "no sentinel is found: what stands before the comma is taken for a name, port included",
			func(f Facts) verdict {
				return when(strings.Contains(f.get("REDIS_SENTINEL_HOSTS"), ":"), "a host with a port", "REDIS_SENTINEL_HOSTS=HOST,HOST,HOST")
			}, false},
		{"D21", Must, "REDIS_URL", "a password without percent signs with Sentinel: it is not decoded there", "WRONGPASS",
			func(f Facts) verdict {
				url := f.get("REDIS_URL")
				return when(f.sentinel() && strings.Contains(url[:strings.LastIndexByte(url, '@')+1], "%"), "user or password are percent-encoded", "REDIS_URL=redis://USER:PASSWORD@SERVICE/0 with the password as it is")
			}, false},
		{"D21", Must, "REDIS_URL", "database 0 with a cluster, which has no other", "Open WebUI cannot connect",
			func(f Facts) verdict {
				u, err := url.Parse(f.get("REDIS_URL"))
				return when(f.is("REDIS_CLUSTER", false) && !f.sentinel() && err == nil && strings.Trim(u.Path, "/0") != "", "another database", "REDIS_URL=redis://HOST:6379/0")
			}, false},
		{"D46", Should, "ENABLE_STAR_SESSIONS_MIDDLEWARE", "off with Sentinel and Cluster", "signing in fails",
			func(f Facts) verdict {
				return when((f.sentinel() || f.is("REDIS_CLUSTER", false)) && f.is("ENABLE_STAR_SESSIONS_MIDDLEWARE", false), "true", "ENABLE_STAR_SESSIONS_MIDDLEWARE=false")
			}, false},
	}
}

// sentinel reports whether Redis is found through sentinels.
func (f Facts) sentinel() bool { return f.get("REDIS_SENTINEL_HOSTS") != "" }
