package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"outgrow/mappings/doctor"
)

// master asks the sentinels for the address of the master, "" when none tells
// it; out says why.
func (p *prober) master(ctx context.Context, a redisAddress, opt redis.Options, service string, out *doctor.Redis) string {
	var last error
	var address, broken string
	var known []string
	answered := 0
	for _, host := range a.sentinels {
		s, err := p.sentinel(ctx, opt, host)
		if err != nil {
			last = err
			continue
		}
		answered++
		found, err := s.GetMasterAddrByName(ctx, service).Result()
		switch {
		case errors.Is(err, redis.Nil):
			known = append(known, masters(ctx, s)...)
		case err != nil:
			last = err
		case len(found) == 2:
			address = net.JoinHostPort(found[0], found[1])
			if err := s.CkQuorum(ctx, service).Err(); err != nil && broken == "" {
				broken = p.why(ctx, err)
			}
		}
		_ = s.Close()
	}
	switch {
	case answered == 0 && last != nil:
		out.Down = "no sentinel answers: " + p.why(ctx, last)
	case address == "" && len(known) > 0:
		slices.Sort(known)
		out.Wrong = fmt.Sprintf("no sentinel knows a master %s; they know %s", service, strings.Join(slices.Compact(known), ", "))
		out.Fix = a.name + "=redis://USER:PASSWORD@SERVICE/0 with the master's name for SERVICE, its case too"
	case address == "" && last != nil:
		out.Down = "the sentinels name no master: " + p.why(ctx, last)
	case address == "":
		out.Wrong, out.Fix = "the sentinels know no master", "set the sentinels up (sentinel monitor NAME HOST PORT QUORUM)"
	case answered < len(a.sentinels):
		out.Quorum = fmt.Sprintf("%d of %d answer", answered, len(a.sentinels))
	default:
		out.Quorum = broken
	}
	return address
}

// sentinel connects to one, with the URL's user and password as Open WebUI does.
// One that has no password takes none.
func (p *prober) sentinel(ctx context.Context, opt redis.Options, host string) (*redis.SentinelClient, error) {
	opt.Addr, opt.DB, opt.TLSConfig = host, 0, nil
	s := redis.NewSentinelClient(&opt)
	err := s.Ping(ctx).Err()
	if err == nil {
		return s, nil
	}
	_ = s.Close()
	if answer := redis.Error(nil); !errors.As(err, &answer) || opt.Password == "" {
		return nil, err
	}
	opt.Username, opt.Password = "", ""
	bare := redis.NewSentinelClient(&opt)
	if bare.Ping(ctx).Err() == nil {
		return bare, nil
	}
	_ = bare.Close()
	return nil, err
}

// masters lists the names of the masters that a sentinel knows.
func masters(ctx context.Context, s *redis.SentinelClient) []string {
	all, err := s.Masters(ctx).Result()
	if err != nil {
		return nil
	}
	var names []string
	for _, m := range all {
		fields, _ := m.([]any)
		for i := 0; i+1 < len(fields); i += 2 {
			if name, ok := fields[i+1].(string); ok && fields[i] == "name" {
				names = append(names, name)
			}
		}
	}
	return names
}
