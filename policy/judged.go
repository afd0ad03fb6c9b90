package policy

import "slices"

// Expecting opens the stream of a guard that is told what it finds before the
// text comes: see [Asked].
func Expecting() Stream { return &expecting{} }

// expecting finds exactly what it was told to expect, each match when the text
// has been read to its end. So for a Screen a judgement from outside is a match
// like every other: all rules of release, redaction and block hold for it.
type expecting struct {
	end     int64
	coming  []Span // in order, none overlaps another
	reached int    // those before it are found
}

func (e *expecting) expect(s Span) {
	if e.reached == len(e.coming) {
		e.coming, e.reached = e.coming[:0], 0
	}
	e.coming = append(e.coming, s)
}

func (e *expecting) Scan(text string, found []Span) []Span {
	e.end += int64(len(text))
	for e.reached < len(e.coming) && e.coming[e.reached].End <= e.end {
		found = append(found, e.coming[e.reached])
		e.reached++
	}
	return found
}

// Close finds nothing: a segment that the text did not reach is no match.
func (e *expecting) Close(found []Span) []Span {
	e.reached = len(e.coming)
	return found
}

func (e *expecting) Hold() int64 {
	if e.reached < len(e.coming) {
		return min(e.end, e.coming[e.reached].Start)
	}
	return e.end
}

func (e *expecting) Live() int64 { return e.Hold() }

func (e *expecting) Copy(from Stream) {
	f := from.(*expecting)
	e.end, e.reached = f.end, f.reached
	e.coming = append(e.coming[:0], f.coming...)
}

// expect tells a rule of the screen what it will find on a channel, before the
// first byte of it is written.
func (s *Screen) expect(candidate int, name Channel, rule int, span Span) {
	ch := s.candidate(candidate).channel(name, s.rules)
	ch.lanes[rule].stream.(*expecting).expect(span)
}

// late notes what a rule that changes nothing has found, after the candidate
// has ended. It must be called in the order of the places.
func (s *Screen) late(candidate int, name Channel, rule int, span Span) {
	ch := s.candidate(candidate).channel(name, s.rules)
	l := &ch.lanes[rule]
	if l.listed < maxListed {
		ch.done = append(ch.done, finding{rule, span})
		l.listed++
	} else {
		l.more++
	}
}

// decision is where the block that ended a candidate was decided: the channel,
// and how far it had been read.
func (s *Screen) decision(candidate int) (name Channel, at int64) {
	for _, ch := range s.candidate(candidate).channels {
		i := slices.IndexFunc(ch.done, func(f finding) bool { return ch.lanes[f.lane].rule.action == Block })
		if i >= 0 {
			return ch.name, ch.done[i].At
		}
	}
	return "", 0
}
