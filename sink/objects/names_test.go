package objects

import (
	"fmt"
	"testing"

	store "outgrow/mappings/objects"
	"outgrow/mappings/objects/objectstest"
	"outgrow/pipeline"
)

// A name that only the store knows not to take is refused as one that is known
// here, and stops nothing else.
func TestStoreRefusesName(t *testing.T) {
	m := &objectstest.Memory{PartBytes: 100}
	m.Fault = func(op, key string) error {
		if key == "bad" && (op == objectstest.Put || op == objectstest.Head) {
			return &pipeline.Error{Op: "storing", Err: fmt.Errorf("%w: 400", store.ErrName)}
		}
		return nil
	}
	s := opened(t, m)
	for _, size := range []int{10, 350} {
		out := write(t, s, object("uploads/bad", text(size)), object(fmt.Sprintf("uploads/good%d", size), text(size)))
		if out.Written != 1 || len(out.Refused) != 1 || out.Refused[0].Key != "uploads/bad" || out.Refused[0].Reason != pipeline.Invalid {
			t.Errorf("%d bytes: %+v", size, out)
		}
	}
}
