package objectstest

import (
	"context"

	"outgrow/mappings/objects"
)

var _ objects.Deleter = (*Memory)(nil)

// Delete removes an object.
func (m *Memory) Delete(ctx context.Context, key string) error {
	if err := m.before(ctx, Delete, key); err != nil {
		return err
	}
	m.mu.Lock()
	delete(m.stored, key)
	m.mu.Unlock()
	return m.after(Delete, key)
}
