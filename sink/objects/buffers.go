package objects

import (
	"context"
	"math/bits"
	"sync"

	"golang.org/x/sync/semaphore"
)

// buffers gives out memory for contents, at most limit bytes at a time, those
// that are kept for reuse counted in. One that is larger than limit is given out
// alone.
type buffers struct {
	limit int64
	sem   *semaphore.Weighted
	mu    sync.Mutex
	used  int64
	idle  int64
	free  map[int][][]byte // by capacity
	peak  int64            // of used and idle
}

func newBuffers(limit int64) *buffers {
	return &buffers{limit: limit, sem: semaphore.NewWeighted(limit), free: map[int][][]byte{}}
}

// smallest is the capacity of the smallest buffer.
const smallest = 4 << 10

// capacity rounds up so that buffers can be reused: at most a quarter is given
// away.
func capacity(n int64) int64 {
	if n <= smallest {
		return smallest
	}
	step := int64(1) << (bits.Len64(uint64(n-1)) - 3)
	return (n + step - 1) / step * step
}

// get waits for n bytes. What it gives goes back by put.
func (b *buffers) get(ctx context.Context, n int64) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	c := capacity(n)
	if c > b.limit && n <= b.limit {
		c = n
	}
	if err := b.sem.Acquire(ctx, min(c, b.limit)); err != nil {
		return nil, context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += c
	if l := b.free[int(c)]; len(l) > 0 {
		buf := l[len(l)-1]
		b.free[int(c)] = l[:len(l)-1]
		b.idle -= c
		return buf[:n], nil
	}
	for size, l := range b.free {
		if b.used+b.idle <= b.limit {
			break
		}
		for len(l) > 0 && b.used+b.idle > b.limit {
			l = l[:len(l)-1]
			b.idle -= int64(size)
		}
		clear(b.free[size][len(l):])
		b.free[size] = l
	}
	b.peak = max(b.peak, b.used+b.idle)
	return make([]byte, n, c), nil
}

// put takes a buffer back.
func (b *buffers) put(buf []byte) {
	c := int64(cap(buf))
	if c == 0 {
		return
	}
	b.mu.Lock()
	b.used -= c
	if b.used+b.idle+c <= b.limit {
		b.free[int(c)] = append(b.free[int(c)], buf)
		b.idle += c
	}
	b.mu.Unlock()
	b.sem.Release(min(c, b.limit))
}
