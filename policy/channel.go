package policy

import (
	"cmp"
	"slices"
)

// channel is the text of one channel of one candidate: the rules at work on it,
// what they found, and how far it is released.
type channel struct {
	name  Channel
	runes runes
	json  *jsonText // nil where the text is plain
	lanes []lane    // one a rule, in the order that settles ties

	end  int64 // of the text that was read
	hold int64 // the watermark: no enforcing rule has anything undecided before it

	// Redactions that start at or behind what is released, by start, the longest
	// first, then the first rule; and the end of the last one that was emitted.
	redactions []redaction
	cover      int64

	done []finding
}

// lane is one rule at work on one channel.
type lane struct {
	order  int // which one
	rule   *rule
	stream Stream
	before Stream // of a blocking rule: where stream stood before this Write; nil before the second, and where that is the beginning
	fresh  Stream // in JSON, of a rule that reads tokens: one that stays at the beginning

	// pending are the matches that no known match contains, but a coming one may.
	// Starts and ends both increase.
	pending []Span
	settled int64 // the end of the last one that left pending

	listed int    // findings of this lane in done
	more   int64  // and those that are only counted
	kinds  []bool // which kinds are listed, once some are only counted
}

// maxListed bounds the findings that are listed of one rule on one channel, so
// that an answer of nothing but matches cannot fill the memory. The first of
// each kind is listed all the same: what is decided by kinds, such as where a
// call may go, must not depend on how many came before.
const maxListed = 256

// lists tells whether a finding of a kind is listed, or only counted.
func (l *lane) lists(kind int, done []finding) bool {
	if l.listed < maxListed {
		return true
	}
	if l.kinds == nil {
		l.kinds = make([]bool, len(l.rule.kinds))
		for _, f := range done {
			if f.lane == l.order {
				l.kinds[f.Kind] = true
			}
		}
	}
	first := !l.kinds[kind]
	l.kinds[kind] = true
	return first
}

type redaction struct {
	start, end int64
	decided    int64 // the end when it was decided; it may have grown since
	lane, kind int
	form       form
}

type finding struct {
	lane int
	Span
}

// verdictAt is the match that ends a candidate.
type verdictAt struct {
	lane *lane
	span Span
	from int64 // nothing from here on is released
}

func newChannel(name Channel, rules []*rule) *channel {
	ch := &channel{name: name}
	if len(rules) == 0 {
		return ch
	}
	ch.lanes = make([]lane, len(rules))
	for i, r := range rules {
		stream := r.guard.Open()
		r = r.on(name, stream)
		ch.lanes[i] = lane{order: i, rule: r, stream: stream}
		if r.action == Block && name.JSON() {
			ch.lanes[i].before = r.guard.Open()
		}
	}
	if name.JSON() {
		ch.json = &jsonText{}
		for i := range ch.lanes {
			l := &ch.lanes[i]
			ch.json.enforcing = ch.json.enforcing || l.rule.action.Enforcing()
			if _, is := l.stream.(told); is {
				ch.json.told = true
			} else {
				l.fresh = l.rule.guard.Open()
			}
		}
	}
	return ch
}

// scan lets all rules read text, or, where one blocks, exactly as much of it as
// that decision took: what the others know then must not depend on how much
// more happened to arrive in the same Write.
func (ch *channel) scan(text string, found []Span) ([]Span, verdictAt) {
	if ch.json != nil {
		return ch.scanJSON(text, found)
	}
	base := ch.end
	ch.end += int64(len(text))
	var first verdictAt
	for i := range ch.lanes {
		if l := &ch.lanes[i]; l.rule.action == Block {
			if base > 0 {
				l.keep()
			}
			found = l.stream.Scan(text, found[:0])
			first.earliest(l, found)
		}
	}
	if first.lane != nil {
		text = text[:first.span.At-base]
		for i := range ch.lanes {
			if l := &ch.lanes[i]; l.rule.action == Block {
				l.back()
				found = l.stream.Scan(text, found[:0])
			}
		}
	}
	for i := range ch.lanes {
		if l := &ch.lanes[i]; l.rule.action != Block {
			found = l.stream.Scan(text, found[:0])
			ch.take(i, found)
		}
	}
	ch.hold = ch.watermark()
	return found, first
}

// keep notes where the stream stands.
func (l *lane) keep() {
	if l.before == nil {
		l.before = l.rule.guard.Open()
	}
	l.before.Copy(l.stream)
}

// back returns to where keep was called, or to the beginning where it was not.
func (l *lane) back() {
	if l.before == nil {
		l.before = l.rule.guard.Open()
	}
	l.stream, l.before = l.before, l.stream
}

// close tells all rules that the text ends.
func (ch *channel) close(found []Span) ([]Span, verdictAt) {
	if ch.json != nil {
		return ch.closeJSON(found)
	}
	var first verdictAt
	for i := range ch.lanes {
		l := &ch.lanes[i]
		found = l.stream.Close(found[:0])
		if l.rule.action == Block {
			first.earliest(l, found)
		} else {
			ch.take(i, found)
		}
	}
	ch.hold = ch.end
	return found, first
}

func (ch *channel) watermark() int64 {
	hold := ch.end
	for i := range ch.lanes {
		if l := &ch.lanes[i]; l.rule.action.Enforcing() {
			hold = min(hold, l.stream.Hold())
		}
	}
	return hold
}

// earliest keeps the match that is decided first; of those, the one that starts
// first; of those, that of the first rule; of those, the longest.
func (v *verdictAt) earliest(l *lane, found []Span) {
	for _, s := range found {
		if w := (verdictAt{l, s, s.Start}); w.before(*v) {
			*v = w
		}
	}
}

func (v verdictAt) before(w verdictAt) bool {
	return w.lane == nil || cmp.Or(cmp.Compare(v.span.At, w.span.At), cmp.Compare(v.span.Start, w.span.Start),
		cmp.Compare(v.lane.order, w.lane.order), cmp.Compare(w.span.End, v.span.End)) < 0
}

// take notes the matches of a rule that does not block.
func (ch *channel) take(i int, found []Span) {
	l := &ch.lanes[i]
	for _, s := range found {
		l.take(s)
		if l.rule.action == Redact {
			ch.redact(i, s)
		}
	}
}

func (l *lane) take(s Span) {
	if s.End <= l.settled {
		return // starts behind a settled one and ends with it
	}
	n := len(l.pending)
	for n > 0 && l.pending[n-1].Start >= s.Start {
		n-- // contained in s, for ends never decrease
	}
	if n > 0 && l.pending[n-1].End >= s.End {
		return // contained; then nothing was dropped either
	}
	l.pending = append(l.pending[:n], s)
}

// redact notes a match in its place. One that grows stays one entry.
func (ch *channel) redact(i int, s Span) {
	r := redaction{start: s.Start, end: s.End, decided: s.End, lane: i, kind: s.Kind}
	if ch.json != nil {
		r.form = ch.json.form
	}
	for j := len(ch.redactions) - 1; j >= 0 && ch.redactions[j].start >= s.Start; j-- {
		if old := ch.redactions[j]; old.lane == i && old.start == s.Start {
			if r.end = max(s.End, old.end); s.Grown {
				r.decided, r.kind = old.decided, old.kind
			}
			ch.redactions = slices.Delete(ch.redactions, j, j+1)
			break
		}
	}
	at, _ := slices.BinarySearchFunc(ch.redactions, r, func(a, b redaction) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.decided, a.decided), cmp.Compare(a.lane, b.lane))
	})
	ch.redactions = slices.Insert(ch.redactions, at, r)
}

// emit appends text, which starts at an offset and stands before the watermark:
// so every redaction that starts in it is known. Those that overlap are one
// span with one placeholder, that of the first, the longest, the first rule's;
// those that only touch are two.
func (ch *channel) emit(dst []Piece, candidate int, start int64, text string) []Piece {
	stop := start + int64(len(text))
	plain := func(from, to int64) {
		if from < to {
			dst = append(dst, Piece{Candidate: candidate, Channel: ch.name, Text: text[from-start : to-start], At: from})
		}
	}
	used := 0
	for _, r := range ch.redactions {
		if r.start >= stop {
			break
		}
		used++
		if r.start < ch.cover {
			ch.cover = max(ch.cover, r.end)
			continue
		}
		plain(max(start, ch.cover), r.start)
		if word := ch.lanes[r.lane].rule.kinds[r.kind].placeholder; word != "" || r.form == asString {
			dst = append(dst, Piece{Candidate: candidate, Channel: ch.name, Text: r.form.write(word), At: r.start, Redacted: true})
		}
		ch.cover = r.end
	}
	if used > 0 {
		ch.redactions = slices.Delete(ch.redactions, 0, used)
	}
	plain(max(start, ch.cover), stop)
	return dst
}

// settle turns the matches that nothing can contain any more into findings.
func (ch *channel) settle() {
	for i := range ch.lanes {
		l := &ch.lanes[i]
		if len(l.pending) > 0 {
			ch.settleBefore(i, ch.inSource(l, l.stream.Live()))
		}
	}
}

func (ch *channel) settleBefore(i int, live int64) {
	l := &ch.lanes[i]
	n := 0
	for n < len(l.pending) && l.pending[n].Start < live {
		if l.lists(l.pending[n].Kind, ch.done) {
			ch.done = append(ch.done, finding{i, l.pending[n]})
			l.listed++
		} else {
			l.more++
		}
		l.settled = l.pending[n].End
		n++
	}
	l.pending = slices.Delete(l.pending, 0, n)
}

// finish ends the channel because a rule blocked, on this channel where
// decision is given: what was found so far stays found.
func (ch *channel) finish(decision *verdictAt) {
	for i := range ch.lanes {
		ch.settleBefore(i, ch.end+1)
		if decision != nil && decision.lane == &ch.lanes[i] {
			ch.done = append(ch.done, finding{i, decision.span})
			ch.hold = min(ch.hold, decision.from)
		}
	}
}

// verdicts returns the findings in the order of their places.
func (ch *channel) verdicts(candidate int) []Verdict {
	found := slices.Clone(ch.done)
	slices.SortFunc(found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.lane, b.lane))
	})
	out := make([]Verdict, len(found))
	left := make([]int, len(ch.lanes))
	for i, f := range found {
		l := &ch.lanes[f.lane]
		v := l.rule.verdict
		k := l.rule.kinds[f.Kind]
		v.Category, v.Severity = k.Category, k.Severity
		if f.Score > 0 {
			v.Score = &f.Score
		}
		v.Candidate, v.Channel, v.Start, v.End = candidate, ch.name, f.Start, f.End
		if left[f.lane]++; left[f.lane] == l.listed {
			v.More = l.more
		}
		out[i] = v
	}
	return out
}
