package doctor

import (
	"net/url"
	"strings"

	"outgrow/mappings/env"
)

func secretChecks() []check {
	return []check{
		{"D10", Must, "WEBUI_SECRET_KEY", "one key, the old deployment's, for all instances", "each instance makes a key of its own: login loops, 401, \"Error decrypting tokens\"",
			func(f Facts) verdict {
				given := f.get("WEBUI_SECRET_KEY") != "" || f.get("WEBUI_JWT_SECRET_KEY") != ""
				return when(!given && (f.several() || f.SecretKey == ""), "not set", "WEBUI_SECRET_KEY=the old deployment's key")
			}, false},
		{"D11", Must, "OAUTH_SESSION_TOKEN_ENCRYPTION_KEY, OAUTH_CLIENT_INFO_ENCRYPTION_KEY", "the same on all instances; WEBUI_SECRET_KEY where it is not set", "other instances cannot read the OAuth tokens",
			func(f Facts) verdict {
				for _, name := range []string{"OAUTH_SESSION_TOKEN_ENCRYPTION_KEY", "OAUTH_CLIENT_INFO_ENCRYPTION_KEY"} {
					if v, set := f.Vars[name]; set && v == "" {
						return verdict{found: name + " is empty, which is not the same as not set", line: "remove " + name + ", or give the key"}
					}
				}
				return verdict{}
			}, false},
		{"D45", Should, "JWT_EXPIRES_IN", "a time limit, short without Redis, which is what sessions are revoked by", "a session that was signed out still works",
			func(f Facts) verdict {
				v := f.get("JWT_EXPIRES_IN")
				return when(v == "-1" || v == "0" || v == "" && f.get("REDIS_URL") == "", "no limit, or four weeks without Redis", "JWT_EXPIRES_IN=7d")
			}, false},
	}
}

func sharedChecks() []check {
	return []check{
		{"D14", Must, "CORS_ALLOW_ORIGIN", "every public address, separated by semicolons", "\"is not an accepted origin\", or every origin is taken",
			func(f Facts) verdict {
				v := f.get("CORS_ALLOW_ORIGIN")
				return when(f.several() && everyOrigin(v) || strings.Contains(v, ","), "not set, *, or separated by commas", "CORS_ALLOW_ORIGIN=https://chat.example.org")
			}, false},
		{"D14", Should, "CORS_ALLOW_ORIGIN", "the public address, for a single process, too", "every origin is taken",
			func(f Facts) verdict {
				return when(!f.several() && everyOrigin(f.get("CORS_ALLOW_ORIGIN")), "not set, or *", "CORS_ALLOW_ORIGIN=https://chat.example.org")
			}, false},
		{"D31", Must, "S3_ENABLE_TAGGING", "false with Cloudflare R2, which knows no tags", "uploads fail",
			func(f Facts) verdict {
				u, err := url.Parse(f.Files.S3.Endpoint)
				r2 := err == nil && strings.HasSuffix(u.Hostname(), ".r2.cloudflarestorage.com")
				return when(f.Files.Provider == env.S3 && f.Files.S3.Tagging && r2, "true, and S3_ENDPOINT_URL is R2's", "S3_ENABLE_TAGGING=false")
			}, false},
		{"D22", Must, "VECTOR_DB", "a vector store with a server of its own", "\"Child process died\" at an upload, a damaged store",
			func(f Facts) verdict {
				return when(f.several() && f.Vector.Embedded(), "embedded Chroma", "VECTOR_DB=pgvector")
			}, false},
		{"D51", Should, "S3_KEY_PREFIX", "a prefix, or a bucket that holds nothing else", "deleting all files in Open WebUI empties the whole bucket",
			func(f Facts) verdict {
				return when(f.Files.Provider == env.S3 && f.Files.S3.Prefix == "", "no prefix", "S3_KEY_PREFIX=open-webui")
			}, false},
	}
}

// everyOrigin reports whether CORS_ALLOW_ORIGIN lets everybody in.
func everyOrigin(v string) bool { return v == "" || v == "*" }
