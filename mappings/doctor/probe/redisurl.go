package probe

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"outgrow/mappings/env"
)

var errRedisURL = errors.New("is no address: redis://USER:PASSWORD@HOST:6379/0")

// options takes a Redis URL apart as Python's urllib does, which Open WebUI and
// redis-py use: user and password end at the last @, and are percent-decoded,
// but for Sentinel; the host may be a service's name there, whose case counts.
func options(raw env.Secret, decode bool) (opt *redis.Options, service string, err error) {
	scheme, rest, ok := strings.Cut(raw.Reveal(), "://")
	if !ok || scheme != "redis" && scheme != "rediss" {
		return nil, "", errRedisURL
	}
	place := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		place, rest = rest[:i], rest[i:]
	} else {
		rest = ""
	}
	opt = &redis.Options{}
	if i := strings.LastIndexByte(place, '@'); i >= 0 {
		opt.Username, opt.Password, _ = strings.Cut(place[:i], ":")
		place = place[i+1:]
		if decode {
			opt.Username, opt.Password = env.Unquote(opt.Username), env.Unquote(opt.Password)
		}
	}
	host, port := place, "6379"
	if h, p, err := net.SplitHostPort(place); err == nil {
		host = h
		if p != "" {
			port = p
		}
	}
	service, _, _ = strings.Cut(place, ":")
	if service == "" {
		service = "mymaster"
	}
	if host == "" {
		host = "localhost" // redis-py's own
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	opt.Addr = net.JoinHostPort(host, port)
	if scheme == "rediss" {
		opt.TLSConfig = encrypted(host)
	}
	path, query, _ := strings.Cut(rest, "?")
	number := strings.Trim(path, "/")
	if q, err := url.ParseQuery(query); err == nil && decode && q.Get("db") != "" {
		number = q.Get("db")
	}
	if number != "" {
		if opt.DB, err = strconv.Atoi(number); err != nil {
			return nil, "", errRedisURL
		}
	}
	return quiet(opt), service, nil
}
