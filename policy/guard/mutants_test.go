package guard_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
)

// The properties are only worth something if they fail for a Screen that is
// wrong. These are the mistakes that others have made.

// releasesAll lets everything out as soon as it was looked at, and stops when a
// match is complete: the head of it is gone.
type releasesAll struct {
	*policy.Screen
	blocked map[int]bool
}

func (m releasesAll) Write(dst []policy.Piece, p policy.Piece) []policy.Piece {
	if m.blocked[p.Candidate] {
		return dst
	}
	m.Screen.Write(nil, p)
	if m.blocked[p.Candidate] = m.Screen.Blocked(p.Candidate); m.blocked[p.Candidate] {
		return dst
	}
	return append(dst, p)
}

func (m releasesAll) End(dst []policy.Piece, candidate int) []policy.Piece {
	m.Screen.End(nil, candidate)
	return dst
}

// perChunk looks at every Write by itself.
type perChunk struct {
	*policy.Screen
	effective *policy.Effective
}

func (m perChunk) Write(dst []policy.Piece, p policy.Piece) []policy.Piece {
	m.Screen.Write(nil, p)
	one := m.effective.Screen()
	dst = one.Write(dst, p)
	return one.End(dst, p.Candidate)
}

func (m perChunk) End(dst []policy.Piece, candidate int) []policy.Piece {
	m.Screen.End(nil, candidate)
	return dst
}

// forgetsChannel screens the content only.
type forgetsChannel struct{ *policy.Screen }

func (m forgetsChannel) Write(dst []policy.Piece, p policy.Piece) []policy.Piece {
	if p.Channel == policy.Reasoning {
		return append(dst, p)
	}
	return m.Screen.Write(dst, p)
}

// window holds a fixed number of bytes back, which bounds no match for sure and
// holds too much besides.
type window struct {
	*policy.Screen
	held map[int][]policy.Piece
}

func (m window) Write(dst []policy.Piece, p policy.Piece) []policy.Piece {
	m.held[p.Candidate] = m.Screen.Write(m.held[p.Candidate], p)
	if n := len(m.held[p.Candidate]) - 2; n > 0 {
		dst = append(dst, m.held[p.Candidate][:n]...)
		m.held[p.Candidate] = m.held[p.Candidate][n:]
	}
	return dst
}

func (m window) End(dst []policy.Piece, candidate int) []policy.Piece {
	dst = append(dst, m.held[candidate]...)
	return m.Screen.End(dst, candidate)
}

// resets forgets at the end of every Write what it was in the middle of, but
// not what it is called: a match across two Writes is missed.
type resets struct {
	*policy.Screen
	effective *policy.Effective
}

func (m *resets) Write(dst []policy.Piece, p policy.Piece) []policy.Piece {
	dst = m.Screen.Write(dst, p)
	if m.Screen.Held() > 0 {
		dst = m.Screen.End(dst, p.Candidate)
		m.Screen = m.effective.Screen()
	}
	return dst
}

// dropsAtEnd drops what is held at the end instead of flushing it.
type dropsAtEnd struct{ *policy.Screen }

func (m dropsAtEnd) End(dst []policy.Piece, candidate int) []policy.Piece {
	m.Screen.End(nil, candidate)
	return dst
}

// endsAll ends every candidate when one is blocked.
type endsAll struct{ *policy.Screen }

func (m endsAll) Blocked(candidate int) bool {
	return m.Screen.Blocked(0) || m.Screen.Blocked(3)
}

func TestMutantsFail(t *testing.T) {
	mutants := map[string]func(*policy.Effective) screen{
		"releases everything scanned": func(e *policy.Effective) screen { return releasesAll{e.Screen(), map[int]bool{}} },
		"redacts chunk by chunk":      func(e *policy.Effective) screen { return perChunk{e.Screen(), e} },
		"forgets one channel":         func(e *policy.Effective) screen { return forgetsChannel{e.Screen()} },
		"holds a fixed window":        func(e *policy.Effective) screen { return window{e.Screen(), map[int][]policy.Piece{}} },
		"resets between Writes":       func(e *policy.Effective) screen { return &resets{e.Screen(), e} },
		"drops what is held":          func(e *policy.Effective) screen { return dropsAtEnd{e.Screen()} },
		"one block ends all":          func(e *policy.Effective) screen { return endsAll{e.Screen()} },
	}
	scenarios := rapid.Custom(drawScenario)
	for name, open := range mutants {
		t.Run(name, func(t *testing.T) {
			const tries = 300
			failed := 0
			for i := range tries {
				sc := scenarios.Example(i)
				if checkAll(t, sc, func(i int) bool { return i%2 == 0 }, open) != nil {
					failed++
				}
			}
			if failed == 0 {
				t.Errorf("no property failed in %d scenarios", tries)
			}
			t.Logf("failed in %d of %d scenarios", failed, tries)
		})
	}
}
