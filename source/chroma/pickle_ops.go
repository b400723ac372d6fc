package chroma

import (
	"fmt"
)

// The opcodes of the pickle protocols 2 to 5 that are understood
// (https://docs.python.org/3/library/pickletools.html).
const (
	opMark            = '('
	opStop            = '.'
	opBinInt          = 'J'
	opBinInt1         = 'K'
	opBinInt2         = 'M'
	opNone            = 'N'
	opBinUnicode      = 'X'
	opBuild           = 'b'
	opBinGet          = 'h'
	opLongBinGet      = 'j'
	opBinPut          = 'q'
	opLongBinPut      = 'r'
	opSetItem         = 's'
	opSetItems        = 'u'
	opEmptyDict       = '}'
	opEmptyTuple      = ')'
	opProto           = 0x80
	opNewObj          = 0x81
	opLong1           = 0x8a
	opShortBinUnicode = 0x8c
	opStackGlobal     = 0x93
	opMemoize         = 0x94
	opFrame           = 0x95
)

// run reads opcodes until STOP.
func (p *pickleReader) run() error {
	for {
		op, err := p.r.ReadByte()
		if err != nil {
			return err
		}
		p.at++
		if op == opStop {
			if n := len(p.stack); n != 1 || (p.stack[0].kind != pkDict && p.stack[0].kind != pkObject) {
				return fmt.Errorf("%w: ends with neither dict nor object", errPickle)
			}
			return nil
		}
		if err := p.step(op); err != nil {
			return err
		}
	}
}

func (p *pickleReader) step(op byte) error {
	switch op {
	case opProto:
		v, err := p.number(1)
		if err == nil && v > 5 {
			err = fmt.Errorf("%w: protocol %d", errPickle, v)
		}
		return err
	case opFrame:
		_, err := p.number(8)
		return err
	case opMark:
		return p.push(pickleValue{kind: pkMark})
	case opNone:
		return p.push(pickleValue{kind: pkNone})
	case opBinInt1, opBinInt2, opBinInt, opLong1:
		return p.pushInt(op)
	case opShortBinUnicode, opBinUnicode:
		width := 4
		if op == opShortBinUnicode {
			width = 1
		}
		n, err := p.number(width)
		if err != nil {
			return err
		}
		return p.pushString(n)
	case opMemoize:
		return p.memoize(uint64(len(p.memo)))
	case opBinPut, opBinGet, opLongBinPut, opLongBinGet:
		width := 4
		if op == opBinPut || op == opBinGet {
			width = 1
		}
		n, err := p.number(width)
		if err != nil {
			return err
		}
		if op == opBinPut || op == opLongBinPut {
			return p.memoize(n)
		}
		if n >= uint64(len(p.memo)) || p.memo[n].size == noString {
			return fmt.Errorf("%w: memo %d is not a string", errPickle, n)
		}
		return p.push(pickleValue{kind: pkRef, num: p.memo[n].at, size: p.memo[n].size})
	case opEmptyDict:
		return p.pushDict()
	case opEmptyTuple:
		return p.push(pickleValue{kind: pkTuple})
	case opSetItem:
		return p.setItem()
	case opSetItems:
		return p.setItems()
	case opStackGlobal, opNewObj, opBuild:
		return p.object(op)
	}
	return fmt.Errorf("%w: opcode 0x%02x", errPickle, op)
}

func (p *pickleReader) pushInt(op byte) error {
	var v uint64
	var err error
	switch op {
	case opBinInt1:
		v, err = p.number(1)
	case opBinInt2:
		v, err = p.number(2)
	case opBinInt:
		v, err = p.number(4)
		v = uint64(int64(int32(uint32(v))))
	case opLong1:
		var n uint64
		if n, err = p.number(1); err != nil {
			return err
		}
		if n > 8 {
			return fmt.Errorf("%w: a number of %d bytes", errPickle, n)
		}
		v, err = p.number(int(n))
		if n > 0 && n < 8 && v>>(8*n-1) == 1 { // two's complement
			v |= ^uint64(0) << (8 * n)
		}
	}
	if err != nil {
		return err
	}
	return p.push(pickleValue{kind: pkInt, num: int64(v)})
}

// memoize remembers the value pushed last. Numbers must come in sequence, as
// Python gives them, so that the memo cannot be made to explode.
func (p *pickleReader) memoize(n uint64) error {
	e := memoEntry{size: noString}
	if p.last.kind == pkStr || p.last.kind == pkRef {
		e = memoEntry{at: p.last.num, size: p.last.size}
	}
	switch {
	case n < uint64(len(p.memo)):
		p.memo[n] = e
	case n == uint64(len(p.memo)):
		p.memo = append(p.memo, e)
	default:
		return fmt.Errorf("%w: memo %d out of sequence", errPickle, n)
	}
	return nil
}

// pushDict begins a dict, named after the key below it.
func (p *pickleReader) pushDict() error {
	d := pickleValue{kind: pkDict}
	if n := len(p.stack); n > 0 && (p.stack[n-1].kind == pkStr || p.stack[n-1].kind == pkRef) {
		name, err := p.text(p.stack[n-1])
		if err != nil {
			return err
		}
		d.str = name
	}
	if d.str == "id_to_label" {
		p.hasLabels = true
	}
	return p.push(d)
}

// setItem is `dict key value SETITEM`.
func (p *pickleReader) setItem() error {
	n := len(p.stack)
	if n < 3 || p.stack[n-3].kind != pkDict {
		return fmt.Errorf("%w: SETITEM without a dict", errPickle)
	}
	if err := p.set(p.stack[n-3], p.stack[n-2], p.stack[n-1]); err != nil {
		return err
	}
	p.stack = p.stack[:n-2]
	p.last = p.stack[n-3]
	return nil
}

// setItems is `dict MARK key value … SETITEMS`.
func (p *pickleReader) setItems() error {
	m := len(p.stack) - 1
	for m >= 0 && p.stack[m].kind != pkMark {
		m--
	}
	if m < 1 || p.stack[m-1].kind != pkDict || (len(p.stack)-m)%2 == 0 {
		return fmt.Errorf("%w: SETITEMS without a dict", errPickle)
	}
	for i := m + 1; i < len(p.stack); i += 2 {
		if err := p.set(p.stack[m-1], p.stack[i], p.stack[i+1]); err != nil {
			return err
		}
	}
	p.stack = p.stack[:m]
	p.last = p.stack[m-1]
	return nil
}

// object is the making of the one instance that the Python writer stores:
// module name STACK_GLOBAL () NEWOBJ state BUILD. Nothing is made of it.
func (p *pickleReader) object(op byte) error {
	switch op {
	case opStackGlobal:
		name, err := p.pop(pkStr)
		if err != nil {
			return err
		}
		module, err := p.pop(pkStr)
		if err != nil {
			return err
		}
		if module.str != pickleModule || name.str != pickleClass {
			return fmt.Errorf("%w: class %.80q of %.80q", errPickle, name.str, module.str)
		}
		return p.push(pickleValue{kind: pkClass})
	case opNewObj:
		if _, err := p.pop(pkTuple); err != nil {
			return err
		}
		if _, err := p.pop(pkClass); err != nil {
			return err
		}
		return p.push(pickleValue{kind: pkObject})
	}
	if _, err := p.pop(pkDict); err != nil {
		return err
	}
	v, err := p.pop(pkObject)
	if err != nil {
		return err
	}
	return p.push(v)
}
