package inspect

import (
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	t.Parallel()
	want := time.Unix(1_700_000_000, 0)
	for _, n := range []int64{1_700_000_000, 1_700_000_000_000, 1_700_000_000_000_000, 1_700_000_000_000_000_000} {
		if got := Moment(n); !got.Equal(want) {
			t.Errorf("%d is %v", n, got)
		}
	}
}
