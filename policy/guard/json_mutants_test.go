package guard_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
)

// forgetsJSON looks at JSON as at any other text.
type forgetsJSON struct{ *policy.Screen }

const asPlain = "plain:"

func (m forgetsJSON) Write(dst []policy.Piece, p policy.Piece) []policy.Piece {
	p.Channel = asPlain + p.Channel
	return m.back(dst, m.Screen.Write(nil, p))
}

func (m forgetsJSON) End(dst []policy.Piece, candidate int) []policy.Piece {
	return m.back(dst, m.Screen.End(nil, candidate))
}

func (m forgetsJSON) back(dst, pieces []policy.Piece) []policy.Piece {
	for _, p := range pieces {
		p.Channel = policy.Channel(strings.TrimPrefix(string(p.Channel), asPlain))
		dst = append(dst, p)
	}
	return dst
}

func (m forgetsJSON) Verdicts() []policy.Verdict {
	vs := m.Screen.Verdicts()
	for i := range vs {
		vs[i].Channel = policy.Channel(strings.TrimPrefix(string(vs[i].Channel), asPlain))
	}
	return vs
}

// oneText is a guard whose streams take the tokens of a channel for one text:
// nothing ends or begins at their borders.
type oneText struct{ policy.Guard }

func (g oneText) Open() policy.Stream { return &oneStream{Stream: g.Guard.Open()} }

type oneStream struct {
	policy.Stream
	read, base int64 // all that was read, and what of it before this token
}

func (s *oneStream) back(found []policy.Span) []policy.Span {
	for i := range found {
		found[i].Start = max(found[i].Start-s.base, 0)
		found[i].End = max(found[i].End-s.base, 1)
		found[i].At = max(found[i].At-s.base, 1)
	}
	return found
}

func (s *oneStream) Scan(text string, found []policy.Span) []policy.Span {
	s.read += int64(len(text))
	return append(found, s.back(s.Stream.Scan(text, nil))...)
}

func (s *oneStream) Close(found []policy.Span) []policy.Span { return found }
func (s *oneStream) Hold() int64                             { return max(s.Stream.Hold()-s.base, 0) }
func (s *oneStream) Live() int64                             { return max(s.Stream.Live()-s.base, 0) }

func (s *oneStream) Copy(from policy.Stream) {
	f := from.(*oneStream)
	if f.read == 0 {
		s.base = s.read
		return
	}
	s.read, s.base = f.read, f.base
	s.Stream.Copy(f.Stream)
}

// borderless compiles the rules of a scenario with such guards.
func borderless(t fataler, sc scenario) *policy.Effective {
	factories := guard.All()
	for name, factory := range factories {
		factories[name] = func(rule *yaml.Node, env policy.Env) (policy.Guard, error) {
			g, err := factory(rule, env)
			if err != nil {
				return nil, err
			}
			return oneText{g}, nil
		}
	}
	return compiled(t, policy.Output, sc.lines(), factories)
}

// splitsNumbers lets the digits of a number out as they come.
type splitsNumbers struct {
	*policy.Screen
	early map[policy.Piece]int // of a candidate and channel: how many bytes went ahead
}

func (m splitsNumbers) Write(dst []policy.Piece, p policy.Piece) []policy.Piece {
	dst = m.late(dst, m.Screen.Write(nil, p))
	n := len(p.Text) - len(strings.TrimRight(p.Text, "0123456789"))
	key := policy.Piece{Candidate: p.Candidate, Channel: p.Channel}
	if p.Channel.JSON() && m.Screen.Held() == n && n > 0 {
		m.early[key] += n
		key.Text = p.Text[len(p.Text)-n:]
		dst = append(dst, key)
	}
	return dst
}

func (m splitsNumbers) End(dst []policy.Piece, candidate int) []policy.Piece {
	return m.late(dst, m.Screen.End(nil, candidate))
}

func (m splitsNumbers) late(dst, pieces []policy.Piece) []policy.Piece {
	for _, p := range pieces {
		key := policy.Piece{Candidate: p.Candidate, Channel: p.Channel}
		n := min(m.early[key], len(p.Text))
		m.early[key] -= n
		p.Text = p.Text[n:]
		dst = append(dst, p)
	}
	return dst
}

// bare puts placeholders into JSON as they are.
type bare struct {
	*policy.Screen
	rules []specRule
}

func (m bare) Write(dst []policy.Piece, p policy.Piece) []policy.Piece {
	return m.undo(dst, m.Screen.Write(nil, p))
}

func (m bare) End(dst []policy.Piece, candidate int) []policy.Piece {
	return m.undo(dst, m.Screen.End(nil, candidate))
}

func (m bare) undo(dst, pieces []policy.Piece) []policy.Piece {
	for _, p := range pieces {
		for _, r := range m.rules {
			for _, f := range []specForm{formString, formScalar} {
				if p.Text == written(r.placeholder, f) {
					p.Text = r.placeholder
				}
			}
		}
		dst = append(dst, p)
	}
	return dst
}

// mutantsOfJSON are the mistakes that only JSON makes possible.
func mutantsOfJSON(t fataler) map[string]func(scenario, *policy.Effective) screen {
	return map[string]func(scenario, *policy.Effective) screen{
		"forgets the JSON view":             func(_ scenario, e *policy.Effective) screen { return forgetsJSON{e.Screen()} },
		"resets nothing at token borders":   func(sc scenario, _ *policy.Effective) screen { return borderless(t, sc).Screen() },
		"releases inside a number":          func(_ scenario, e *policy.Effective) screen { return splitsNumbers{e.Screen(), map[policy.Piece]int{}} },
		"puts placeholders in as they are":  func(sc scenario, e *policy.Effective) screen { return bare{e.Screen(), sc.rules} },
		"redacts arguments without a grant": func(sc scenario, _ *policy.Effective) screen { return granted(t, sc).Screen() },
	}
}

// granted compiles the rules of a scenario as if each said tool_args: redact.
func granted(t fataler, sc scenario) *policy.Effective {
	var lines []string
	for _, r := range sc.rules {
		r.toolArgs = r.action == policy.Redact
		lines = append(lines, r.line())
	}
	return compiled(t, policy.Output, lines, guard.All())
}

func TestMutantsOfJSONFail(t *testing.T) {
	scenarios := rapid.Custom(drawJSONScenario)
	for name, open := range mutantsOfJSON(t) {
		t.Run(name, func(t *testing.T) {
			const tries = 300
			failed := 0
			for i := range tries {
				sc := scenarios.Example(i)
				mutant := func(e *policy.Effective) screen { return open(sc, e) }
				if checkAll(t, sc, func(i int) bool { return i%2 == 0 }, mutant) != nil {
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
