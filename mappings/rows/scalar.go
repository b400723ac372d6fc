package rows

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// nanoseconds are the tables whose times are nanoseconds since 1970; those of
// the others are seconds. Source: models/*.py of Open WebUI 0.12.4.
func nanoseconds(table string) bool {
	switch table {
	case "app", "automation", "automation_run", "calendar", "calendar_event", "calendar_event_attendee", "channel",
		"channel_member", "channel_webhook", "message", "message_reaction", "note", "pinned_note":
		return true
	}
	return false
}

func integer(c *Column, v any, lo, hi int64) (any, *Fix, *Problem) {
	switch n := v.(type) {
	case int64:
		if lo <= n && n <= hi {
			return v, nil, nil
		}
		return outOfRange(c, n < 0, lo, hi)
	case float64:
		whole := math.Trunc(n)
		if !(whole >= -(1<<63) && whole < 1<<63) || int64(whole) < lo || int64(whole) > hi {
			return outOfRange(c, n < 0, lo, hi)
		}
		if whole == n {
			return int64(whole), nil, nil
		}
		return int64(whole), &Fix{NotInteger, "the fraction of a number was cut off"}, nil
	case bool:
		if n {
			return int64(1), nil, nil
		}
		return int64(0), nil, nil
	case string:
		return integerText(c, n, lo, hi)
	}
	return otherwise(c, int64(0), &Fix{NotInteger, fmt.Sprintf("a %T is no integer", v)})
}

func outOfRange(c *Column, negative bool, lo, hi int64) (any, *Fix, *Problem) {
	instead := hi
	if negative {
		instead = lo
	}
	return otherwise(c, instead, &Fix{OutOfRange, "the number is beyond what " + c.Type + " holds"})
}

// integerText understands numbers, and ISO dates in columns of times.
func integerText(c *Column, s string, lo, hi int64) (any, *Fix, *Problem) {
	s = strings.TrimSpace(s)
	if n, ok := number(s); ok {
		if !n.IsInt64() || n.Int64() < lo || n.Int64() > hi {
			return outOfRange(c, n.Sign() < 0, lo, hi)
		}
		return n.Int64(), &Fix{NotInteger, "a text became the integer it says"}, nil
	}
	if t, ok := isoTime(s); ok && (strings.HasSuffix(c.Name, "_at") || c.Name == "timestamp") {
		n, unit := t.Unix(), "seconds"
		if nanoseconds(c.Table) {
			n, unit = t.UnixNano(), "nanoseconds"
		}
		if lo <= n && n <= hi {
			return n, &Fix{NotInteger, "a date became " + unit + " since 1970"}, nil
		}
	}
	return otherwise(c, int64(0), &Fix{NotInteger, "a text is no integer"})
}

// number reads a decimal text of up to 400 characters, its fraction cut off,
// without a float on the way.
func number(s string) (*big.Int, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return big.NewInt(n), true
	}
	if len(s) > 400 || strings.Trim(s, "0123456789+-.eE") != "" {
		return nil, false
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if e, err := strconv.Atoi(s[i+1:]); err != nil || e > 400 || e < -400 {
			return nil, false
		}
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil, false
	}
	return new(big.Int).Quo(r.Num(), r.Denom()), true
}

// isoTime reads the usual forms of ISO 8601; without a zone it is UTC.
func isoTime(s string) (time.Time, bool) {
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999",
		"2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly,
	} {
		// A year of 0 is none for PostgreSQL.
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 0 {
			return t, true
		}
	}
	return time.Time{}, false
}

func boolean(c *Column, v any) (any, *Fix, *Problem) {
	switch b := v.(type) {
	case bool:
		return v, nil, nil
	case int64:
		if b == 0 || b == 1 {
			return b == 1, nil, nil
		}
		return true, &Fix{NotBoolean, "a number other than 0 and 1 became true"}, nil
	case float64:
		if b == 0 || b == 1 {
			return b == 1, nil, nil
		}
		return true, &Fix{NotBoolean, "a number other than 0 and 1 became true"}, nil
	case string:
		if is, ok := truth(b); ok {
			return is, &Fix{NotBoolean, "a text became the boolean it says"}, nil
		}
	}
	return otherwise(c, false, &Fix{NotBoolean, "a text is no boolean"})
}

// truth reads a text as PostgreSQL's boolean does: 1, 0 and unambiguous
// beginnings of true, false, yes, no, on, off. Numbers count as numbers.
func truth(s string) (is, ok bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	if n, ok := number(s); ok {
		return n.Sign() != 0, true
	}
	switch {
	case s == "" || s == "o":
		return false, false
	case strings.HasPrefix("true", s), strings.HasPrefix("yes", s), s == "on":
		return true, true
	case strings.HasPrefix("false", s), strings.HasPrefix("no", s), strings.HasPrefix("off", s):
		return false, true
	}
	return false, false
}

func date(c *Column, v any) (any, *Fix, *Problem) {
	s, ok := v.(string)
	if !ok {
		return missing(c, &Fix{NotDate, "a number is no date"})
	}
	if len(s) == len(time.DateOnly) {
		if _, ok := isoTime(s); ok {
			return v, nil, nil
		}
	}
	if t, ok := isoTime(strings.TrimSpace(s)); ok {
		return t.Format(time.DateOnly), &Fix{NotDate, "the time of a date was cut off"}, nil
	}
	return missing(c, &Fix{NotDate, "a text is no date"})
}

// timestamp gives times in one spelling: a fraction of six digits, or none
// when it is zero.
func timestamp(c *Column, v any) (any, *Fix, *Problem) {
	const seconds = "2006-01-02 15:04:05"
	spell := func(t time.Time) string {
		if t.Nanosecond()/1000 == 0 {
			return t.Format(seconds)
		}
		return t.Format(seconds + ".000000")
	}
	epoch := time.Unix(0, 0).UTC()
	switch n := v.(type) {
	case int64:
		if n > -1e11 && n < 1e11 {
			return spell(time.Unix(n, 0).UTC()), &Fix{NotDate, "seconds since 1970 became a time"}, nil
		}
	case string:
		if t, ok := isoTime(strings.TrimSpace(n)); ok {
			t = t.UTC()
			if out := spell(t); n == out || n == t.Format(seconds+".000000") {
				return out, nil, nil
			} else {
				return out, &Fix{NotDate, "a time was written as PostgreSQL spells it, in UTC"}, nil
			}
		}
	}
	return otherwise(c, spell(epoch), &Fix{NotDate, "the value is no time"})
}
