package guard_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
)

// asker is a guard that has to ask. What it finds follows from the text: a
// segment is bad if it, or the context before it, has zz in it.
type asker struct{}

func (asker) Kinds() []policy.Kind { return []policy.Kind{{Category: "asked/zz"}} }
func (asker) Bound() (int, bool)   { return policy.SegmentBytes, true }
func (asker) Open() policy.Stream  { return policy.Expecting() }
func (asker) Rule(text string, _ int, j policy.Judgement) policy.Ruling {
	return policy.Ruling{Found: !j.Failed && strings.Contains(text, "zz"), Unjudged: j.Failed}
}

// asking is an Effective with output rules, some of which ask.
func asking(t fataler, stage policy.Stage, rules []string) *policy.Effective {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte("kind: Policy\nname: p\nsafety:\n  "+stage.String()+":\n    - "+strings.Join(rules, "\n    - ")+"\n"), &n); err != nil {
		t.Fatal(err)
	}
	d, err := policy.ParseDocument(&n)
	if err != nil {
		t.Fatal(err)
	}
	factories := guard.All()
	factories["asker"] = func(*yaml.Node, policy.Env) (policy.Guard, error) { return asker{}, nil }
	set, err := policy.Compile(7, []policy.Document{d}, nil, factories)
	if err != nil {
		t.Fatal(err)
	}
	return set.Resolve(policy.Subject{})
}

// segmentSpec is a segment of a whole text, and how far the text must be read
// to know that it is one.
type segmentSpec struct{ start, end, at int }

// segmentsOf cuts a whole text. Texts of these tests are shorter than what a
// segment may have at most.
func segmentsOf(text string) (out []segmentSpec) {
	start := 0
	for at, r := range text {
		end := at + utf8.RuneLen(r)
		if end-start < 16 {
			continue
		}
		next, size := utf8.DecodeRuneInString(text[end:])
		switch {
		case strings.ContainsRune("。！？\n", r):
			out = append(out, segmentSpec{start, end, end})
		case strings.ContainsRune(".!?", r) && end < len(text) && unicode.IsSpace(next):
			out = append(out, segmentSpec{start, end, end + size})
		default:
			continue
		}
		start = end
	}
	if start < len(text) {
		out = append(out, segmentSpec{start, len(text), len(text) + 1})
	}
	return out
}

// askerRule is the rule of an asker to the specification, which wants to know
// about beginnings of texts: the whole ones are told apart by their first rune.
func askerRule(action policy.Action, whole []string) specRule {
	r := specRule{yaml: "guard: asker", action: action}
	bad := func(text string) (out []segmentSpec) {
		for _, w := range whole {
			if text == "" || !strings.HasPrefix(w, text) {
				continue
			}
			for _, s := range segmentsOf(w) {
				from := max(0, s.start-policy.ContextBytes)
				if strings.TrimSpace(w[s.start:s.end]) != "" && strings.Contains(w[from:s.end], "zz") {
					out = append(out, s)
				}
			}
		}
		return out
	}
	r.matches = func(text string, ended bool) (out [][2]int) {
		for _, s := range bad(text) {
			at := s.end
			if action < policy.Redact {
				at = s.at
			}
			if at <= len(text) || ended && s.end <= len(text) {
				out = append(out, [2]int{s.start, s.end})
			}
		}
		return out
	}
	r.live = func(text string) (out []int) {
		for _, s := range bad(text) {
			if s.start < len(text) && len(text) < s.end {
				out = append(out, s.start)
			}
		}
		return out
	}
	return r
}

// gateScenario is a scenario whose channels begin with a rune of their own.
type gateScenario struct {
	scenario
	askers []policy.Action
}

func drawGateScenario(t *rapid.T) gateScenario {
	var sc gateScenario
	letters := []string{"a", "b", "c"}
	words := []string{"a", "ab", "c", " ", "zz", "z", "lorem ipsum", "中文的话语", "dolor sit", ". ", ".", "。", "！", "\n", "? ", "3.14", "   \n          "}
	for i := range rapid.IntRange(0, 2).Draw(t, "rules") {
		sc.rules = append(sc.rules, drawRule(t, i, letters))
	}
	sc.askers = rapid.SliceOfN(rapid.SampledFrom([]policy.Action{policy.Block, policy.Redact, policy.Redact, policy.Flag, policy.Shadow}), 1, 2).Draw(t, "askers")
	type place struct {
		candidate int
		channel   policy.Channel
	}
	marks := map[place]string{{0, policy.Content}: "①", {0, policy.Reasoning}: "②", {3, policy.Content}: "③", {3, policy.Reasoning}: "④"}
	begun := map[place]bool{}
	for range rapid.IntRange(1, 5).Draw(t, "pieces") {
		p := place{rapid.SampledFrom([]int{0, 0, 3}).Draw(t, "candidate"), rapid.SampledFrom([]policy.Channel{policy.Content, policy.Content, policy.Reasoning}).Draw(t, "channel")}
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 1, 12).Draw(t, "text"), "")
		if rapid.IntRange(0, 8).Draw(t, "broken") == 0 {
			text += "\xE4\xB8"
		}
		if !begun[p] {
			text = marks[p] + text
		}
		begun[p] = true
		for _, b := range []byte(text) {
			sc.bytes = append(sc.bytes, arrival{p.candidate, p.channel, b})
		}
	}
	return sc
}

// whole are the texts of the channels, as they are judged.
func (sc gateScenario) whole() (out []string) {
	for _, c := range sc.candidates() {
		texts := map[policy.Channel]string{}
		for _, e := range sc.events(c) {
			texts[e.channel] += e.text
		}
		out = append(out, slices.Collect(maps.Values(texts))...)
	}
	return out
}

// gateProperty: for every chunking, and for answers that come in every order
// and at every time, what is released and every verdict is what the
// specification says, and nothing is released that has not been judged.
func gateProperty(t *rapid.T) {
	sc := drawGateScenario(t)
	whole := sc.whole()
	for i, action := range sc.askers {
		r := askerRule(action, whole)
		r.placeholder = fmt.Sprintf("⟦asked %d⟧", i)
		sc.rules = append(sc.rules, r)
	}
	order := rapid.Permutation(sc.rules).Draw(t, "order")
	sc.rules = order
	e := asking(t, policy.Output, sc.lines())
	cuts := rapid.SliceOfN(rapid.Bool(), len(sc.bytes), len(sc.bytes)).Draw(t, "cuts")
	g := e.Gate("")

	var out []policy.Piece
	var open []policy.Question
	answer := func() {
		i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
		id := open[i].ID
		open = slices.Delete(open, i, i+1)
		out = g.Answer(out, id, policy.Judgement{})
	}
	turn := func() {
		open = append(open, g.Ask()...)
		if len(open) > 2*policy.InFlight {
			t.Fatalf("%d questions in flight", len(open))
		}
		for len(open) > 0 && rapid.Bool().Draw(t, "now") {
			answer()
			open = append(open, g.Ask()...)
		}
	}
	for _, p := range sc.pieces(func(i int) bool { return cuts[i] }) {
		out = g.Write(out, p)
		turn()
	}
	for _, c := range rapid.Permutation(sc.candidates()).Draw(t, "ends") {
		out = g.End(out, c)
		turn()
	}
	for g.Waits() {
		if open = append(open, g.Ask()...); len(open) == 0 {
			t.Fatal("questions wait and none is asked")
		}
		answer()
	}
	if g.Held() != 0 {
		t.Fatalf("%d bytes are held at the end", g.Held())
	}
	for _, c := range sc.candidates() {
		events := sc.events(c)
		spec := candidateSpec{rules: sc.rules, events: events}
		states := spec.run()
		want := states[len(states)-1]
		if !g.Ended(c) || g.Blocked(c) != want.blocked {
			t.Fatalf("candidate %d: ended %t, blocked %t, want %t\n%s", c, g.Ended(c), g.Blocked(c), want.blocked, sc)
		}
		if got := merged(out, c); !slices.Equal(got, want.out) {
			t.Fatalf("candidate %d released\n  %v, want\n  %v\n%s", c, got, want.out, sc)
		}
		var got []policy.Verdict
		for _, v := range g.Verdicts() {
			if v.Candidate == c {
				got = append(got, policy.Verdict{Rule: v.Rule, Action: v.Action, Channel: v.Channel, Start: v.Start, End: v.End})
			}
		}
		sortVerdicts(got)
		sortVerdicts(want.verdicts)
		if !slices.Equal(got, want.verdicts) {
			t.Fatalf("candidate %d: verdicts\n  %v, want\n  %v\n%s", c, got, want.verdicts, sc)
		}
	}
}

func TestGate(t *testing.T) { rapid.Check(t, gateProperty) }

func FuzzGate(f *testing.F) { f.Fuzz(rapid.MakeFuzz(gateProperty)) }

// TestNothingIsFoundBeyondABlock: what a rule that holds nothing was already
// asked about does not count where the block comes before it.
func TestNothingIsFoundBeyondABlock(t *testing.T) {
	g := asking(t, policy.Output, []string{"{guard: asker, action: block}", "{guard: asker, action: flag}"}).Gate("")
	out := g.Write(nil, policy.Piece{Channel: policy.Content, Text: "lorem ipsum zz and\n"})
	out = g.Write(out, policy.Piece{Channel: policy.Reasoning, Text: "dolor sit amet zz\n"})
	open := g.Ask()
	if len(open) != 4 {
		t.Fatalf("%d questions, want two segments for two rules", len(open))
	}
	for _, q := range slices.Backward(open) { // reasoning before content, flag before block
		out = g.Answer(out, q.ID, policy.Judgement{})
	}
	if len(out) != 0 || !g.Blocked(0) || !g.Ended(0) || g.Waits() || g.Held() != 0 {
		t.Errorf("released %v, blocked %t, ended %t, waits %t, held %d", out, g.Blocked(0), g.Ended(0), g.Waits(), g.Held())
	}
	found := g.Verdicts()
	if len(found) != 2 || found[0].Channel != policy.Content || found[1].Channel != policy.Content || found[0].Category != "asked/zz" {
		t.Errorf("found %+v, want the block and the flag at its place", found)
	}
}

// TestNothingIsReleasedBeforeItIsJudged: a segment waits for every rule that
// can change it, and behind it all that arrived later; a flag holds nothing.
func TestNothingIsReleasedBeforeItIsJudged(t *testing.T) {
	const one, two, rest = "the first of them.", " and the second one.", " rest"
	e := asking(t, policy.Output, []string{"{guard: asker, action: redact}", "{guard: asker, action: block}", "{guard: asker, action: flag}"})
	g := e.Gate("")
	if n, bounded := g.Bound(); !bounded || n != 2*policy.SegmentBytes {
		t.Errorf("bound %d %t", n, bounded)
	}
	out := g.Write(nil, policy.Piece{Channel: policy.Content, Text: one + two + rest})
	out = g.Write(out, policy.Piece{Channel: policy.Reasoning, Text: "I think"})
	open := g.Ask()
	if len(open) != 6 {
		t.Fatalf("%d questions", len(open))
	}
	// The questions of the second segment first, then one of two of the first.
	for _, i := range []int{2, 3, 0} {
		if out = g.Answer(out, open[i].ID, policy.Judgement{}); len(out) > 0 {
			t.Fatalf("released %v before its judgement", out)
		}
	}
	if out = g.Answer(out, open[1].ID, policy.Judgement{}); texts(out) != one+two {
		t.Fatalf("released %q", texts(out))
	}
	out = g.End(out, 0)
	if g.Ended(0) || texts(out) != one+two {
		t.Fatalf("released %q at the end, which nobody has judged", texts(out))
	}
	for _, q := range append(g.Ask(), open[4:]...) {
		out = g.Answer(out, q.ID, policy.Judgement{Failed: q.Rule != "output[2]"})
	}
	if !g.Ended(0) || texts(out) != one+two+rest+"I think" {
		t.Errorf("released %q", texts(out))
	}
	for g.Waits() {
		for _, q := range g.Ask() {
			g.Answer(nil, q.ID, policy.Judgement{})
		}
	}
	if want := int64(len(rest) + len("I think")); g.UnjudgedBytes() != want {
		t.Errorf("%d bytes unjudged, want %d, each once", g.UnjudgedBytes(), want)
	}
	// An answer to nobody changes nothing.
	if out := g.Answer(nil, 999, policy.Judgement{}); out != nil {
		t.Errorf("%v", out)
	}
}

// TestQuestionsShowNoMoreThanTheyMust: context, masks and the bounds.
func TestQuestionsShowNoMoreThanTheyMust(t *testing.T) {
	e := asking(t, policy.Output, []string{`{guard: lexicon, terms: ["secret word"], action: redact, placeholder: "[X]"}`, "{guard: asker, action: block}"})
	g := e.Gate(strings.Repeat("问", 1000))
	var sent strings.Builder
	for i := range 40 {
		line := fmt.Sprintf("line %d has a secret word in it.\n", i)
		sent.WriteString(line)
		g.Write(nil, policy.Piece{Channel: policy.Content, Text: line})
	}
	for n := 0; g.Waits(); n++ {
		open := g.Ask()
		if len(open) != policy.InFlight {
			t.Fatalf("%d questions are open, want %d", len(open), policy.InFlight)
		}
		for _, q := range open {
			if strings.Contains(q.Text, "secret") || !strings.Contains(q.Text, "[X]") || len(q.Text) > policy.ContextBytes+policy.SegmentBytes || !utf8.ValidString(q.Text) {
				t.Fatalf("question %q", q.Text)
			}
			if len(q.Prompt) > 1024 || len(q.Prompt) < 1000 || !utf8.ValidString(q.Prompt) || q.Stage != policy.Output || q.Rule != "output[1]" {
				t.Fatalf("question %+v", q)
			}
			g.Answer(nil, q.ID, policy.Judgement{})
		}
	}
	if g.Held() != len("\n") { // the beginning of the next segment
		t.Errorf("%d bytes held", g.Held())
	}
	// A text without any end of a sentence is cut all the same.
	g = asking(t, policy.Output, []string{"{guard: asker, action: block}"}).Gate("")
	var out []policy.Piece
	for range 5000 {
		out = g.Write(out, policy.Piece{Channel: policy.Content, Text: "水"})
		for _, q := range g.Ask() {
			out = g.Answer(out, q.ID, policy.Judgement{})
		}
		if n, _ := g.Bound(); g.Held() > n {
			t.Fatalf("%d bytes held, bound %d", g.Held(), n)
		}
	}
	if g.Full() {
		t.Error("full, and nothing waits")
	}
	for range 5000 {
		g.Write(nil, policy.Piece{Channel: policy.Content, Text: strings.Repeat("水", 20)})
	}
	if !g.Full() {
		t.Errorf("%d bytes wait for answers and more is wanted", g.Held())
	}
}

// TestInquiry: input is judged by local rules and by those that ask together,
// and the first text that is blocked ends it.
func TestInquiry(t *testing.T) {
	texts := []policy.InputText{{Message: 0, Text: "you are zz", Trusted: true}, {Message: 1, Text: "mail a@example.com now"}, {Message: 2, Part: 1, Text: "this is zz"}, {Message: 3, Text: "never seen"}}
	rapid.Check(t, func(t *rapid.T) {
		action := rapid.SampledFrom([]policy.Action{policy.Block, policy.Redact, policy.Flag}).Draw(t, "action")
		e := asking(t, policy.Input, []string{`{guard: pattern, builtin: email, action: redact}`, fmt.Sprintf("{guard: asker, action: %s}", action)})
		if !e.Asks(policy.Input) || e.Asks(policy.Output) || e.Holds() || e.Local().Asks(policy.Input) {
			t.Fatal("wrong about who asks")
		}
		q := e.Inquire(texts)
		if q.Decided() != (action == policy.Flag) {
			t.Fatalf("decided %t before any answer", q.Decided())
		}
		var open []policy.Question
		for q.Waits() {
			open = append(open, q.Ask()...)
			i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
			if strings.Contains(open[i].Text, "@") {
				t.Fatalf("a judge is shown what is redacted: %q", open[i].Text)
			}
			q.Answer(open[i].ID, policy.Judgement{})
			open = slices.Delete(open, i, i+1)
		}
		res := q.Result()
		if !q.Decided() || res.Blocked != (action == policy.Block) {
			t.Fatalf("decided %t, %+v", q.Decided(), res)
		}
		want := []string{"you are zz", "mail [EMAIL] now", "this is zz", "never seen"}
		found := 3
		switch action {
		case policy.Redact:
			want[0], want[2] = "[ZZ]", "[ZZ]"
		case policy.Block:
			want, found = []string{"", "", "", ""}, 1
		}
		if !slices.Equal(res.Texts, want) || len(res.Verdicts) != found {
			t.Fatalf("%q %+v", res.Texts, res.Verdicts)
		}
	})
}
