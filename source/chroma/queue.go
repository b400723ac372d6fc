package chroma

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// replayBody applies the changes that embeddings does not hold yet to a record;
// exists false when it is gone then.
func (sn *snapshot) replayBody(ctx context.Context, exists bool, b body, changes []change) (_ body, _ bool, err error) {
	for _, c := range changes {
		switch {
		case c.op == opDelete:
			exists, b = false, body{}
			continue
		case c.op == opAdd && exists, c.op == opUpdate && !exists, c.op > opDelete, c.op < 0:
			continue
		}
		exists = true
		row, found, err := one(ctx, sn.db, "SELECT metadata FROM embeddings_queue WHERE seq_id = ?", c.seq)
		if err != nil {
			return b, exists, err
		}
		if !found || row[0] == nil {
			continue
		}
		if err := b.merge(str(row[0])); err != nil {
			return b, exists, fmt.Errorf("row %d of the queue: %w", c.seq, err)
		}
	}
	return b, exists, nil
}

// merge applies the metadata of one row of the queue key by key; null deletes
// the key.
func (b *body) merge(object string) error {
	p := &queueJSON{s: object}
	return p.object(func(key string, value any) {
		text, isText := value.(string)
		switch {
		case key == documentKey && isText:
			b.text = &text
		case key == documentKey:
			b.text = nil
		case value == nil:
			b.drop(key)
		default:
			b.set(key, value)
		}
	})
}

// queueJSON parses the flat objects of embeddings_queue.metadata: JSON, and NaN
// and Infinity as Python writes them.
type queueJSON struct {
	s  string
	at int
}

func (p *queueJSON) fail() error {
	return fmt.Errorf("metadata that is not a flat JSON object, at byte %d", p.at)
}

// next skips white space and gives the next byte, 0 at the end.
func (p *queueJSON) next() byte {
	for p.at < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.at]) >= 0 {
		p.at++
	}
	if p.at == len(p.s) {
		return 0
	}
	return p.s[p.at]
}

func (p *queueJSON) object(set func(string, any)) error {
	if p.next() != '{' {
		return p.fail()
	}
	p.at++
	for first := true; ; first = false {
		c := p.next()
		if c == '}' {
			p.at++
			if p.next() != 0 {
				return p.fail()
			}
			return nil
		}
		if !first {
			if c != ',' {
				return p.fail()
			}
			p.at++
			p.next()
		}
		key, err := p.str()
		if err != nil {
			return err
		}
		if p.next() != ':' {
			return p.fail()
		}
		p.at++
		v, err := p.value()
		if err != nil {
			return err
		}
		set(key, v)
	}
}

func (p *queueJSON) value() (any, error) {
	switch p.next() {
	case '"':
		return p.str()
	case '[':
		p.at++
		list := []any{}
		for {
			c := p.next()
			if c == ']' {
				p.at++
				if len(list) == 0 {
					return nil, nil
				}
				return list, nil
			}
			if len(list) > 0 {
				if c != ',' {
					return nil, p.fail()
				}
				p.at++
			}
			if p.next() == '[' {
				return nil, p.fail()
			}
			v, err := p.value()
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
	}
	return p.scalar()
}

func (p *queueJSON) str() (s string, err error) {
	if p.next() != '"' {
		return "", p.fail()
	}
	for i := p.at + 1; i < len(p.s); i++ {
		switch p.s[i] {
		case '\\':
			i++
		case '"':
			if err := json.Unmarshal([]byte(p.s[p.at:i+1]), &s); err != nil {
				return "", p.fail()
			}
			p.at = i + 1
			return s, nil
		}
	}
	return "", p.fail()
}

// scalar reads a number, true, false or null. NaN is as null: chromadb leaves
// such a key out.
func (p *queueJSON) scalar() (any, error) {
	from := p.at
	for p.at < len(p.s) && strings.IndexByte(",]} \t\r\n", p.s[p.at]) < 0 {
		p.at++
	}
	switch word := p.s[from:p.at]; word {
	case "null", "NaN":
		return nil, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	case "Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	default:
		if !json.Valid([]byte(word)) {
			return nil, p.fail()
		}
		if n, err := strconv.ParseInt(word, 10, 64); err == nil {
			return n, nil
		}
		f, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return nil, p.fail()
		}
		return f, nil
	}
}
