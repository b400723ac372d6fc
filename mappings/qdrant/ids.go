package qdrant

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"github.com/google/uuid"
	pb "github.com/qdrant/go-client/qdrant"
)

// Point is the id of a point: a UUID, or a number, which Open WebUI never
// writes. Numbers come before UUIDs in Qdrant's order; points compare in it.
type Point struct {
	UUID   uuid.UUID
	Number uint64
	IsUUID bool
}

// ParseUUID reads an id in any spelling that Qdrant takes for a UUID: with
// hyphens, without, as urn:uuid: or in braces, in any case.
func ParseUUID(id string) (Point, bool) {
	switch len(id) {
	case 32, 36:
	case 38:
		if id[0] != '{' || id[37] != '}' {
			return Point{}, false
		}
	case 45:
		if !strings.HasPrefix(id, "urn:uuid:") {
			return Point{}, false
		}
	default:
		return Point{}, false
	}
	u, err := uuid.Parse(id)
	return Point{UUID: u, IsUUID: true}, err == nil
}

// ParsePoint reads an id as the reader spells it, and nothing else.
func ParsePoint(id string) (Point, bool) {
	if p, ok := ParseUUID(id); ok {
		return p, p.String() == id
	}
	n, err := strconv.ParseUint(id, 10, 64)
	p := Point{Number: n}
	return p, err == nil && p.String() == id
}

// String spells a UUID in lower case with hyphens, a number in decimal.
func (p Point) String() string {
	if p.IsUUID {
		return p.UUID.String()
	}
	return strconv.FormatUint(p.Number, 10)
}

// PB is the id in a request.
func (p Point) PB() *pb.PointId {
	if p.IsUUID {
		return pb.NewIDUUID(p.UUID.String())
	}
	return pb.NewIDNum(p.Number)
}

// PointOf reads an id of an answer.
func PointOf(id *pb.PointId) (Point, bool) {
	if s, ok := id.GetPointIdOptions().(*pb.PointId_Uuid); ok {
		u, err := uuid.Parse(s.Uuid)
		return Point{UUID: u, IsUUID: true}, err == nil
	}
	n, ok := id.GetPointIdOptions().(*pb.PointId_Num)
	if !ok {
		return Point{}, false
	}
	return Point{Number: n.Num}, true
}

// Compare is below, at or above 0 as p comes before q, is q, or comes after.
func (p Point) Compare(q Point) int {
	switch {
	case p.IsUUID != q.IsUUID:
		if q.IsUUID {
			return -1
		}
		return 1
	case p.IsUUID:
		return strings.Compare(string(p.UUID[:]), string(q.UUID[:]))
	case p.Number < q.Number:
		return -1
	case p.Number > q.Number:
		return 1
	}
	return 0
}

// Next is the first id behind p; ok is false behind the last one.
func (p Point) Next() (next Point, ok bool) {
	if !p.IsUUID {
		if p.Number == math.MaxUint64 {
			return Point{IsUUID: true}, true
		}
		return Point{Number: p.Number + 1}, true
	}
	next = p
	for i := len(next.UUID) - 1; i >= 0; i-- {
		if next.UUID[i]++; next.UUID[i] != 0 {
			return next, true
		}
	}
	return p, false
}

// Cuts divides the UUIDs into n ranges of one size and gives the n-1 ids that
// end all but the last. Open WebUI's ids are random, so the ranges hold about
// as many points each.
func Cuts(n int) []Point {
	out := make([]Point, 0, max(n-1, 0))
	step := math.MaxUint64 / uint64(max(n, 1))
	for i := 1; i < n; i++ {
		p := Point{IsUUID: true}
		binary.BigEndian.PutUint64(p.UUID[:], uint64(i)*step)
		out = append(out, p)
	}
	return out
}
