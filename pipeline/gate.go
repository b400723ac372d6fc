package pipeline

import (
	"context"
	"sync"
)

// Gate lets a unit of one lane wait until units of another are durable (the
// table file after the uploads). The zero value has nothing opened.
type Gate struct {
	mu   sync.Mutex
	open map[string]chan struct{}
}

func (g *Gate) channel(id string) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == nil {
		g.open = map[string]chan struct{}{}
	}
	ch, ok := g.open[id]
	if !ok {
		ch = make(chan struct{})
		g.open[id] = ch
	}
	return ch
}

// Open tells everyone who waits that the unit is durable; repeating is harmless.
func (g *Gate) Open(id string) {
	ch := g.channel(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-ch:
	default:
		close(ch)
	}
}

// Wait blocks until all the units are durable or ctx is done.
func (g *Gate) Wait(ctx context.Context, ids []string) error {
	for _, id := range ids {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-g.channel(id):
		}
	}
	return nil
}
