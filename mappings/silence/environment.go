package silence

import (
	"slices"
	"strings"

	"outgrow/mappings/env"
)

// without are variables that a looked-at copy is started without, or their
// beginnings, which end in "_".
//
// Redis is left out as a whole: REDIS_KEY_PREFIX keeps keys apart, but socket.io's
// channel has no prefix (socket/main.py makes the manager without one), and what
// is published there reaches every database of a Redis server. WEBHOOK_URL and the lists of
// servers are the defaults of settings (config.py), RESET_CONFIG_ON_START puts the
// defaults in place of the silenced settings, LICENSE_KEY is sent to its server at the start,
// AUDIT_LOGS_FILE_PATH is the deployment's own log.
func without() []string {
	return []string{"WEBSOCKET_MANAGER", "REDIS_URL", "REDIS_CLUSTER", "REDIS_SENTINEL_", "WEBSOCKET_REDIS_", "WEBSOCKET_SENTINEL_",
		"WEBHOOK_URL", "TOOL_SERVER_CONNECTIONS", "TERMINAL_SERVER_CONNECTIONS", "RESET_CONFIG_ON_START", "LICENSE_KEY", "ENABLE_OTEL_", "ENABLE_OTEL", "AUDIT_LOGS_FILE_PATH"}
}

// Environment gives what a copy is to be started with beside the deployment's own
// variables, and which of those it is to be started without. Names: Open WebUI
// 0.12.4, env.py and config.py; an earlier release passes over what it does not
// know.
func Environment(vars map[string]env.Secret) (set map[string]string, remove []string) {
	or := func(name, otherwise string) string {
		if v := vars[name].Reveal(); v != "" {
			return v
		}
		return otherwise
	}
	set = map[string]string{
		"WEBUI_NAME":       or("WEBUI_NAME", "Open WebUI") + " rehearsal",
		"REDIS_KEY_PREFIX": or("REDIS_KEY_PREFIX", "open-webui") + "-rehearsal", // should somebody give it a Redis
		"SAFE_MODE":        "true",
		// Tools have no switch of their own: what they ask for is installed at the start.
		"ENABLE_PIP_INSTALL_FRONTMATTER_REQUIREMENTS": "false",
		// OAuth clients of MCP servers are looked up at the start, whether they are enabled or not.
		"ENABLE_TOOL_SERVERS":         "false",
		"ENABLE_USER_WEBHOOKS":        "false",
		"ENABLE_VERSION_UPDATE_CHECK": "false",
	}
	for name := range vars {
		if slices.ContainsFunc(without(), func(w string) bool {
			return name == w || strings.HasSuffix(w, "_") && strings.HasPrefix(name, w)
		}) {
			remove = append(remove, name)
		}
	}
	slices.Sort(remove)
	return set, remove
}
