package vectors

import (
	"github.com/google/uuid"

	"outgrow/pipeline"
)

// IDMapped is the reason of the ledger line for an id that a store cannot hold
// and that became [MappedID]. The line's column is "id".
const IDMapped pipeline.Reason = "id-mapped"

// idSpace is outgrow's own namespace for mapped ids. It must never change: a
// resumed run, a later sync and verify find a record by the same id again.
var idSpace = uuid.UUID{0x6f, 0x1d, 0x0c, 0x52, 0x8e, 0x4b, 0x5a, 0x67, 0x9c, 0x3f, 0x2b, 0xd0, 0x41, 0xe7, 0x90, 0xaa}

// MappedID gives an id that every store can hold in place of one that it
// cannot: the version 5 UUID (RFC 9562, section 5.5) of the collection's logical
// name and the id, lower case with hyphens. Ids that are equal in two
// collections become different ones.
func MappedID(collection, id string) string {
	return uuid.NewSHA1(idSpace, []byte(collection+"\x1f"+id)).String()
}
