package policy

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

// jsonText is what a channel of JSON knows of its text. Its rules read one
// token at a time, as a text of its own, and what is no JSON as the last one.
type jsonText struct {
	jsonReader
	pos int64 // of the source that was read
	due int64 // the end of the rune that told, before it was read, what stands before it

	// The token under way, as guards see it.
	content int64  // bytes of it that were read
	end     int64  // of its source
	marks   []mark // where it stands in the source, as far as anything is live
	form    form

	enforcing bool // a rule is
	told      bool // a rule is
}

// mark says that the text of a token stands in the source as it is, from here
// to the next mark; or that it is one escape.
type mark struct {
	content, source int64
	escape          bool
}

// source is the place in the source up to which everything is whole: not a
// number, a literal or an escape that is under way.
func (j *jsonText) source() int64 { return j.pos - int64(len(j.unit)) }

// startOf is where the rune at an offset of the token starts in the source.
func (j *jsonText) startOf(offset int64) int64 {
	if offset >= j.content {
		return j.source()
	}
	m := j.marks[j.find(offset)]
	return m.source + offset - m.content // 0, in an escape
}

// endOf is where the rune before an offset of the token ends in the source.
func (j *jsonText) endOf(offset int64) int64 {
	i := j.find(offset - 1)
	m := j.marks[i]
	switch {
	case !m.escape:
		return m.source + offset - m.content
	case i+1 < len(j.marks):
		return j.marks[i+1].source
	}
	return j.end
}

func (j *jsonText) find(offset int64) int {
	i, found := slices.BinarySearchFunc(j.marks, offset, func(m mark, at int64) int { return cmp.Compare(m.content, at) })
	if !found {
		i--
	}
	return max(i, 0)
}

// fewMarks are kept without asking what of them is still needed.
const fewMarks = 64

// note says where the next rune of the token stands.
func (ch *channel) note(source int64, escape bool) {
	j := ch.json
	if n := len(j.marks); n > 0 && !escape && !j.marks[n-1].escape {
		return // the token goes on as it was
	}
	if len(j.marks) >= fewMarks && len(j.marks) == cap(j.marks) {
		live := j.content
		for i := range ch.lanes {
			if l := &ch.lanes[i]; l.fresh != nil {
				live = min(live, l.stream.Live())
			}
		}
		j.marks = slices.Delete(j.marks, 0, j.find(live))
	}
	j.marks = append(j.marks, mark{j.content, source, escape})
}

// place moves spans of the token to where they stand in the source, decided at
// an offset of it.
func (j *jsonText) place(found []Span, at int64) []Span {
	for i := range found {
		s := &found[i]
		s.Start, s.End, s.At = j.startOf(s.Start), j.endOf(s.End), at
	}
	return found
}

// scanJSON is scan for a channel of JSON.
//
// What one rune of the source tells is decided at once, at the end of that
// rune: that a number ends and what it is, and what the rune itself is.
func (ch *channel) scanJSON(text string, found []Span) ([]Span, verdictAt) {
	j := ch.json
	base := ch.end
	ch.end += int64(len(text))
	var outside verdictAt
	if j.told {
		found, outside = ch.scanTold(text, found)
		if outside.lane != nil {
			text = text[:outside.span.At-base]
		}
	}
	var first verdictAt
	for j.pos < base+int64(len(text)) && (first.lane == nil || j.pos < j.due) {
		rest := text[j.pos-base:]
		if j.pos < j.due {
			rest = rest[:j.due-j.pos] // that rune and no more
		}
		from := j.source()
		part := j.next(rest)
		if part.peeked && j.pos >= j.due {
			_, size := utf8.DecodeRuneInString(rest)
			j.due = j.pos + int64(size)
		}
		if part.kind == jsonRun && j.pos >= j.due {
			found, first = ch.run(rest[:part.n], found)
			continue
		}
		j.pos += int64(part.n)
		whole := ""
		if at := j.pos - base - int64(len(part.unit)); at >= 0 && part.kind == jsonWhole {
			whole = text[at : j.pos-base]
		}
		found = ch.step(part, from, rest[:part.n], whole, max(j.pos, j.due), found, &first)
	}
	if j.told {
		found = ch.readTold(text[:j.pos-base], outside.lane != nil || first.lane != nil, found)
		if outside.lane != nil && outside.before(first) {
			first = outside
		}
	}
	ch.hold = ch.watermarkJSON()
	return found, first
}

// closeJSON is close for a channel of JSON.
func (ch *channel) closeJSON(found []Span) ([]Span, verdictAt) {
	j := ch.json
	var first verdictAt
	for {
		from := j.source()
		part := j.finish()
		if part.kind == jsonEnd {
			break
		}
		found = ch.step(part, from, "", "", ch.end, found, &first)
	}
	found = ch.endToken(ch.end, found, &first)
	for i := range ch.lanes {
		if l := &ch.lanes[i]; l.fresh == nil {
			found = l.stream.Close(found[:0]) // nothing is decided by it
		}
	}
	ch.hold = ch.end
	return found, first
}

func (ch *channel) watermarkJSON() int64 {
	j := ch.json
	if !j.enforcing {
		return ch.end
	}
	hold := j.source()
	for i := range ch.lanes {
		if l := &ch.lanes[i]; l.rule.action.Enforcing() {
			hold = min(hold, ch.inSource(l, l.stream.Hold()))
		}
	}
	return hold
}

// inSource is where an offset of a lane stands in the source.
func (ch *channel) inSource(l *lane, offset int64) int64 {
	if ch.json == nil || l.fresh == nil {
		return offset
	}
	return ch.json.startOf(offset)
}

// run lets the rules read a stretch of a token that stands in the source as it
// is, as scan does.
func (ch *channel) run(text string, found []Span) ([]Span, verdictAt) {
	j := ch.json
	ch.note(j.pos, false)
	var first verdictAt
	for i := range ch.lanes {
		if l := &ch.lanes[i]; l.rule.action == Block && l.fresh != nil {
			if j.content > 0 {
				l.before.Copy(l.stream)
			}
			found = l.stream.Scan(text, found[:0])
			first.earliest(l, found)
		}
	}
	if first.lane != nil {
		text = text[:first.span.At-j.content]
		for i := range ch.lanes {
			l := &ch.lanes[i]
			if l.rule.action != Block || l.fresh == nil {
				continue
			}
			if j.content > 0 {
				l.stream, l.before = l.before, l.stream
			} else {
				l.stream.Copy(l.fresh)
			}
			found = l.stream.Scan(text, found[:0])
		}
	}
	j.read(len(text), j.pos+int64(len(text)))
	j.pos = j.end
	for i := range ch.lanes {
		if l := &ch.lanes[i]; l.rule.action != Block && l.fresh != nil {
			found = l.stream.Scan(text, found[:0])
			ch.take(i, j.place(found, j.pos))
		}
	}
	if first.lane != nil {
		found = j.place(append(found[:0], first.span), j.pos)
		first.span, first.from = found[0], found[0].Start
	}
	return found, first
}

// read says how much of the token has been read, and where that ends.
func (j *jsonText) read(n int, end int64) {
	j.content += int64(n)
	j.end = end
	if j.form = inString; j.broken {
		j.form = inPlain
	}
}

// step lets the rules read a part that is one rune or one token, or see its
// end. All that is decided by it is decided at an offset of the source. From is
// where the part starts there, unless it is text; whole is the text of a number
// or literal where the source has it in one piece.
func (ch *channel) step(part jsonPart, from int64, text, whole string, at int64, found []Span, first *verdictAt) []Span {
	j := ch.json
	switch part.kind {
	case jsonRun:
		found = ch.rune(text, from, false, from+int64(len(text)), at, found, first)
	case jsonEscape:
		found = ch.rune(runeText(part.rune), from, true, j.source(), at, found, first)
	case jsonClose:
		found = ch.endToken(at, found, first)
	case jsonWhole:
		found = ch.whole(part.unit, whole, from, at, found, first)
	case jsonBroken:
		found = ch.endToken(at, found, first)
		for _, b := range part.unit {
			found = ch.rune(runeText(rune(b)), from, false, from+1, at, found, first)
			from++
		}
	}
	return found
}

// rune lets the rules read one rune of the token.
func (ch *channel) rune(text string, from int64, escape bool, end, at int64, found []Span, first *verdictAt) []Span {
	ch.note(from, escape)
	ch.json.read(len(text), end)
	for i := range ch.lanes {
		if l := &ch.lanes[i]; l.fresh != nil {
			found = l.stream.Scan(text, found[:0])
			ch.decide(i, found, at, first)
		}
	}
	return found
}

// endToken tells the rules that the token ends, and lets them begin another.
func (ch *channel) endToken(at int64, found []Span, first *verdictAt) []Span {
	j := ch.json
	if j.content == 0 {
		return found
	}
	for i := range ch.lanes {
		if l := &ch.lanes[i]; l.fresh != nil {
			found = l.stream.Close(found[:0])
			ch.decide(i, found, at, first)
			l.stream.Copy(l.fresh)
		}
	}
	j.content, j.marks = 0, j.marks[:0]
	return found
}

// whole lets the rules read a number or a literal. Whatever a redaction finds in
// it takes all of it, and a block leaves nothing of it: a part of a number is
// another number.
func (ch *channel) whole(unit []byte, text string, from, at int64, found []Span, first *verdictAt) []Span {
	j := ch.json
	ch.note(from, false)
	end := from + int64(len(unit))
	j.read(len(unit), end)
	for i := range ch.lanes {
		l := &ch.lanes[i]
		if l.fresh == nil {
			continue
		}
		if found = found[:0]; text != "" {
			found = l.stream.Scan(text, found)
		} else {
			for _, b := range unit { // it arrived in pieces
				found = l.stream.Scan(runeText(rune(b)), found)
			}
		}
		found = l.stream.Close(found)
		ch.decide(i, found, at, first)
		l.stream.Copy(l.fresh)
	}
	j.content, j.marks = 0, j.marks[:0]
	first.from = from // what ends a token is the first that its last rune tells
	for i, r := range ch.redactions {
		if r.start >= from {
			r.start, r.end, r.decided, r.form = from, end, end, asString
			ch.redactions = append(ch.redactions[:i], r)
			break
		}
	}
	return found
}

// decide notes what a rule has found in the token.
func (ch *channel) decide(i int, found []Span, at int64, first *verdictAt) {
	if len(found) == 0 {
		return
	}
	found = ch.json.place(found, at)
	if l := &ch.lanes[i]; l.rule.action == Block {
		first.earliest(l, found)
	} else {
		ch.take(i, found)
	}
}

// scanTold finds the first decision of the rules that are told what they find.
func (ch *channel) scanTold(text string, found []Span) ([]Span, verdictAt) {
	var first verdictAt
	for i := range ch.lanes {
		if l := &ch.lanes[i]; l.rule.action == Block && l.fresh == nil {
			l.before.Copy(l.stream)
			found = l.stream.Scan(text, found[:0])
			first.earliest(l, found)
		}
	}
	return found, first
}

// readTold lets the rules that are told read as much as the others have: after
// a block, less than they were shown.
func (ch *channel) readTold(text string, again bool, found []Span) []Span {
	for i := range ch.lanes {
		l := &ch.lanes[i]
		switch {
		case l.fresh != nil:
		case l.rule.action != Block:
			found = l.stream.Scan(text, found[:0])
			ch.take(i, found)
		case again:
			l.stream, l.before = l.before, l.stream
			found = l.stream.Scan(text, found[:0])
		}
	}
	return found
}
