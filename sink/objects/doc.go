// Package objects writes the uploaded files to an object store, whichever it
// is: what differs between stores is behind [outgrow/mappings/objects.Uploader]
// and Bucket, what is the same is here.
//
// # Durability
//
// A batch is written when every object of it is: each was acknowledged by the
// store, which has verified it against a digest that was computed here from the
// very bytes that were sent. There is nothing to flush, and nothing half
// written can be seen under a name: an object appears whole or not at all.
//
// An object that is there already with the same content is left as it is and
// counts as written: so a repeated batch, or an answer that got lost, does no
// harm. Another object of the same name is never overwritten unless
// Config.Replace is set, and that is the store's own doing (a conditional
// request), so no other writer can slip in between: the record is refused with
// reason duplicate. Two contents are the same when size and digest are (CRC32C
// or MD5, whichever the store keeps); where it keeps none the object is read
// back.
//
// # Small and large
//
// What fits in one part (Uploader.PartSize) is read whole and sent in one
// request. A larger object is read once, in order, and cut into parts, which
// are sent up to four at a time where the store takes them in any order. Where
// the store wants a digest beforehand that the source does not know, it is read
// once more for that. A part that fails transiently is sent again from memory;
// a store that can do without (Streamer) has a file of this machine streamed, and
// reads it again.
//
// # Resume
//
// The parts of an interrupted upload stay with the store. The next run asks for
// them (Uploader.Begin) and reads the source again, but sends only the parts
// whose bytes are not there: at most the parts that were under way are sent
// twice. The parts are given up (Parts.Abort) only when they can be of no use:
// the source has changed, is gone or cannot be read, or the store finds at the
// end that the digests differ.
//
// # A source that changes
//
// Length and known digests of a source are checked at its end, and an object of
// several parts is completed only against the digest of what was read. So a
// file that grows, shrinks or is replaced meanwhile fails the batch with a
// transient error, and never becomes an object that is a mixture.
//
// # Memory
//
// Contents are held in buffers that are reused, at most Config.Buffers bytes of
// them over all parts and objects, in use or kept for reuse. Whoever needs one
// waits for it before it has anything that another waits for.
package objects
