package guard

import (
	"cmp"
	"slices"

	"github.com/weir-gateway/weir/policy"
)

// union is a guard of several guards: what one of them finds, it finds.
type union struct {
	parts []policy.Guard
	kinds []policy.Kind
	place [][]int // of each part's kinds in these
}

func newUnion(parts ...policy.Guard) policy.Guard {
	u := &union{}
	for _, p := range parts {
		var place []int
		for _, k := range p.Kinds() {
			at := slices.Index(u.kinds, k)
			if at < 0 {
				at = len(u.kinds)
				u.kinds = append(u.kinds, k)
			}
			place = append(place, at)
		}
		u.parts, u.place = append(u.parts, p), append(u.place, place)
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return u
}

func (u *union) Kinds() []policy.Kind { return u.kinds }

// Bound is the greatest of the parts'.
func (u *union) Bound() (bytes int, bounded bool) {
	for _, p := range u.parts {
		n, ok := p.Bound()
		if !ok {
			return 0, false
		}
		bytes = max(bytes, n)
	}
	return bytes, true
}

func (u *union) Open() policy.Stream {
	s := &unionStream{union: u}
	for _, p := range u.parts {
		s.streams = append(s.streams, p.Open())
	}
	return s
}

type unionStream struct {
	*union
	streams []policy.Stream
}

func (s *unionStream) Scan(text string, found []policy.Span) []policy.Span {
	return s.merge(found, func(p policy.Stream, found []policy.Span) []policy.Span { return p.Scan(text, found) })
}

func (s *unionStream) Close(found []policy.Span) []policy.Span {
	return s.merge(found, policy.Stream.Close)
}

// merge puts what the parts have found into the order in which it was decided.
// All of a rune's decisions fall into one Scan, so the order is the same for
// every chunking.
func (s *unionStream) merge(found []policy.Span, read func(policy.Stream, []policy.Span) []policy.Span) []policy.Span {
	before := len(found)
	for i, p := range s.streams {
		n := len(found)
		found = read(p, found)
		for j := n; j < len(found); j++ {
			found[j].Kind = s.place[i][found[j].Kind]
		}
	}
	slices.SortStableFunc(found[before:], func(a, b policy.Span) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.End, b.End))
	})
	return found
}

func (s *unionStream) Hold() int64 { return s.least(policy.Stream.Hold) }

func (s *unionStream) Live() int64 { return s.least(policy.Stream.Live) }

func (s *unionStream) least(of func(policy.Stream) int64) int64 {
	n := of(s.streams[0])
	for _, p := range s.streams[1:] {
		n = min(n, of(p))
	}
	return n
}

func (s *unionStream) Copy(from policy.Stream) {
	for i, p := range from.(*unionStream).streams {
		s.streams[i].Copy(p)
	}
}
