package simulator

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
)

func ask(model, prompt string) *backend.Request {
	return &backend.Request{RequestID: "r", Model: model, Candidates: 1,
		Messages: []backend.Message{{Role: backend.User, Parts: []backend.Part{{Channel: backend.Content, Text: prompt}}}}}
}

func instant(t testing.TB, models map[string]Profile) *Backend {
	t.Helper()
	if models == nil {
		models = map[string]Profile{"m": {}}
	}
	b, err := New(Config{Models: models})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// listen returns the events of a call and how it ended.
func listen(t testing.TB, b *Backend, req *backend.Request) ([]backend.Event, error) {
	t.Helper()
	s, err := b.Generate(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var all []backend.Event
	for {
		e, err := s.Recv()
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
}

func content(events []backend.Event) string {
	var b strings.Builder
	for _, e := range events {
		if e.Kind == backend.Delta && e.Channel == backend.Content {
			b.WriteString(e.Text)
		}
	}
	return b.String()
}

func finish(events []backend.Event) backend.FinishReason {
	for _, e := range events {
		if e.Kind == backend.Finished {
			return e.Finish
		}
	}
	return ""
}

func used(events []backend.Event) (u accounting.Usage) {
	for _, e := range events {
		if e.Kind == backend.Used {
			u = e.Usage
		}
	}
	return u
}

// The words of the answers are pinned: a change of the grammar changes every
// demo and golden file built on it, and must be meant.
func TestSameRequestSameAnswer(t *testing.T) {
	b := instant(t, nil)
	for prompt, want := range map[string]string{
		"How do dams protect a harbour?": "What is said of “dams” holds for the letter as well. Where the lantern is steady, the valley turns it. With “protect” in mind, look first at the patient road. First comes the letter, and then the quiet road.",
		"请介绍一下三峡大坝的发电原理":                 "说到发电原理，安静的地图总会记住小路。想着三峡大坝的人，常常在岸边看见地图。正是平稳的山谷衡量了石桥。没有人知道地图怎样照看堤坝旁的水车。发电原理这件事，并不比麻雀更难懂。",
		"??": "Where the wheel is quiet, the window carries it. Nobody sees how the valley shapes a boat after the rain. It is the steady window that carries the mill.",
	} {
		for range 2 {
			events, err := listen(t, b, ask("m", prompt))
			if err != io.EOF {
				t.Fatal(err)
			}
			if got := content(events); got != want {
				t.Errorf("prompt %q:\n got %q\nwant %q", prompt, got, want)
			}
		}
	}
	one, _ := listen(t, instant(t, map[string]Profile{"a": {}, "b": {}}), ask("a", "rivers"))
	two, _ := listen(t, instant(t, map[string]Profile{"a": {}, "b": {}}), ask("b", "rivers"))
	if content(one) == content(two) {
		t.Error("two models gave one answer")
	}
}

func TestProseReads(t *testing.T) {
	b := instant(t, nil)
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Int64().Draw(t, "seed")
		chinese := rapid.Bool().Draw(t, "chinese")
		prompt, full, ends := "Why do lighthouses need a steady lamp?", ".", "."
		if chinese {
			prompt, full, ends = "灯塔的灯光为什么重要？", "。", "。"
		}
		req := ask("m", prompt)
		req.Seed = &seed
		s, err := b.Generate(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		var text string
		for {
			e, err := s.Recv()
			if err != nil {
				break
			}
			text += e.Text
		}
		if !strings.HasSuffix(text, ends) || strings.ContainsAny(text, "{}") || strings.Contains(text, "  ") {
			t.Fatalf("answer does not read: %q", text)
		}
		if n := strings.Count(text, full); n < 2 || n > 5 {
			t.Fatalf("answer has %d sentences: %q", n, text)
		}
		topics := []string{"lighthouses", "steady", "lamp"}
		if chinese {
			topics = []string{"灯塔", "灯光", "重要"}
		}
		if !slices.ContainsFunc(topics, func(w string) bool { return strings.Contains(text, w) }) {
			t.Fatalf("answer takes up no word of the prompt: %q", text)
		}
	})
}

func TestInstructions(t *testing.T) {
	b := instant(t, nil)
	for _, c := range []struct {
		prompt, want string
		finish       backend.FinishReason
	}{
		{"say: exactly this", "exactly this", backend.FinishStop},
		{"say:exactly this", "exactly this", backend.FinishStop},
		{"Say:  two\nlines ", " two\nlines ", backend.FinishStop},
		{"a prompt before\nsay: x", "x", backend.FinishStop},
		{"say: say: x", "say: x", backend.FinishStop},
		{"say:", "", backend.FinishStop},
		{"refuse: no", "", backend.FinishRefusal},
	} {
		events, err := listen(t, b, ask("m", c.prompt))
		if got := content(events); err != io.EOF || got != c.want || finish(events) != c.finish {
			t.Errorf("prompt %q: %q, %s, %v, want %q, %s", c.prompt, got, finish(events), err, c.want, c.finish)
		}
	}
	for _, n := range []string{"1", "7", "500"} {
		for _, prompt := range []string{"tell me of boats\ntokens: " + n, "tokens: " + n + "\n说说渡船的故事"} {
			events, _ := listen(t, b, ask("m", prompt))
			out, _ := used(events).OutputTokens()
			if got := len(content(events)); got == 0 || n != itoa(out) {
				t.Errorf("prompt %q: %d tokens", prompt, out)
			}
		}
	}
	stopped := ask("m", "say: one two")
	stopped.Stop = []string{"", " two"}
	if events, _ := listen(t, b, stopped); content(events) != "one" {
		t.Errorf("answer is %q: an empty stop sequence stops nothing", content(events))
	}
	// Only the last user message steers; a word inside a line does not.
	req := ask("m", "what did I say: nothing")
	req.Messages = append([]backend.Message{{Role: backend.System, Parts: []backend.Part{{Channel: backend.Content, Text: "say: no"}}}}, req.Messages...)
	events, _ := listen(t, b, req)
	if got := content(events); got == "no" || got == "nothing" {
		t.Errorf("answer is %q", got)
	}
}

func itoa(n int64) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

var text = rapid.StringOf(rapid.OneOf(rapid.Rune(), rapid.RuneFrom([]rune("abc é水石ひ한 \n\t.,123́👩‍👧"))))

func TestTokensJoinAndCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := text.Draw(t, "text")
		if rapid.Bool().Draw(t, "bytes") {
			s = string(rapid.SliceOf(rapid.Byte()).Draw(t, "raw"))
		}
		n := countTokens(s)
		if n > len(s) {
			t.Fatalf("%d tokens in %d bytes", n, len(s))
		}
		at := 0
		for k := range n {
			if head, count, _ := firstTokens(s, k); head != s[:at] || count != k || countTokens(head) != k {
				t.Fatalf("the first %d tokens are %q (%d), joined are %q", k, head, countTokens(head), s[:at])
			}
			size := firstToken(s[at:])
			if piece := s[at : at+size]; utf8.ValidString(s) && !utf8.ValidString(piece) {
				t.Fatalf("token %q is cut through a rune", piece)
			}
			at += size
		}
		if at != len(s) {
			t.Fatalf("tokens joined are %q of %q", s[:at], s)
		}
	})
	for s, want := range map[string]int{"": 0, " ": 1, "the weir": 2, "simulator": 3, "水车": 2, "a  b": 3, "ﬁ": 1} {
		if got := countTokens(s); got != want {
			t.Errorf("%q has %d tokens, want %d", s, got, want)
		}
	}
}

// What is reported is what CountOutput counts, however the call is limited.
func TestUsageIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := instantIn(t)
		req := ask("m", "think: "+strings.ReplaceAll(text.Draw(t, "think"), "\n", " ")+"\nsay: "+text.Draw(t, "say"))
		req.Candidates = rapid.IntRange(1, 4).Draw(t, "n")
		if rapid.Bool().Draw(t, "limited") {
			most := rapid.IntRange(1, 40).Draw(t, "most")
			req.MaxOutputTokens = &most
		}
		if rapid.Bool().Draw(t, "stopped") {
			req.Stop = []string{rapid.StringN(1, 2, 8).Draw(t, "stop"), "", "a"}
		}
		s, err := b.Generate(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		said := make([]map[backend.Channel]string, req.Candidates)
		deltas := 0
		var usage accounting.Usage
		for {
			e, err := s.Recv()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			switch e.Kind {
			case backend.Delta:
				deltas++
				if said[e.Candidate] == nil {
					said[e.Candidate] = map[backend.Channel]string{}
				}
				said[e.Candidate][e.Channel] += e.Text
			case backend.Used:
				usage = e.Usage
			}
		}
		var output, reasoning int
		for _, c := range said {
			output += b.CountOutput("m", c[backend.Content])
			reasoning += b.CountOutput("m", c[backend.Reasoning])
			if req.MaxOutputTokens != nil && b.CountOutput("m", c[backend.Content])+b.CountOutput("m", c[backend.Reasoning]) > *req.MaxOutputTokens {
				t.Fatalf("candidate is longer than %d tokens", *req.MaxOutputTokens)
			}
			for _, stop := range req.Stop {
				if stop != "" && strings.Contains(c[backend.Content], stop) {
					t.Fatalf("%q holds the stop sequence %q", c[backend.Content], stop)
				}
			}
		}
		var want accounting.Usage
		want.Set(accounting.Input, int64(b.CountInput(req)))
		want.Set(accounting.CacheRead, 0)
		want.Set(accounting.Output, int64(output))
		want.Set(accounting.Reasoning, int64(reasoning))
		if usage != want || deltas != output+reasoning || b.Account().Tokens != int64(deltas) {
			t.Fatalf("usage %+v, want %+v; %d deltas, account %+v", usage, want, deltas, b.Account())
		}
	})
}

func instantIn(t *rapid.T) *Backend {
	b, err := New(Config{Models: map[string]Profile{"m": {}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCachedShareKeepsTheTotal(t *testing.T) {
	b := instant(t, map[string]Profile{"m": {CachedShare: 0.4}})
	req := ask("m", "say: x")
	events, _ := listen(t, b, req)
	u := used(events)
	cached, _ := u.Get(accounting.CacheRead)
	if total, _ := u.InputTokens(); total != int64(b.CountInput(req)) || cached < 1 {
		t.Errorf("input is %d of %d, cached %d", total, b.CountInput(req), cached)
	}
}

func TestContextBoundsInputAndOutput(t *testing.T) {
	req := ask("m", "tokens: 100")
	room := 5
	b := instant(t, map[string]Profile{"m": {ContextTokens: countInput(req) + room}})
	events, _ := listen(t, b, req)
	if out, _ := used(events).OutputTokens(); out != int64(room) || finish(events) != backend.FinishLength {
		t.Errorf("%d tokens, %s", out, finish(events))
	}
}

// Time is that of the profile to the nanosecond where there is no jitter.
func TestTimes(t *testing.T) {
	for _, c := range []struct {
		profile  Profile
		min, max time.Duration
	}{
		{Profile{}, 0, 0},
		{Profile{TimeToFirstToken: time.Second}, time.Second, time.Second},
		{Profile{TimeToFirstToken: time.Second, TokensPerSecond: 10}, 1900 * time.Millisecond, 1900 * time.Millisecond},
		{Profile{TokensPerSecond: 10, Jitter: 0.5}, 450 * time.Millisecond, 1350 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := instant(t, map[string]Profile{"m": c.profile})
			req := ask("m", "tokens: 10")
			req.Candidates = 3 // side by side: no slower than one
			start := time.Now()
			listen(t, b, req)
			if took := time.Since(start); took < c.min || took > c.max {
				t.Errorf("%+v: took %v, want %v to %v", c.profile, took, c.min, c.max)
			}
		})
	}
}

func TestStallEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := instant(t, map[string]Profile{"m": {TokensPerSecond: 100, Fault: FaultStall, FaultAfter: 3}})
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		s, err := b.Generate(ctx, ask("m", "tokens: 10"))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for err == nil {
			_, err = s.Recv()
		}
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Hour {
			t.Errorf("ended with %v after %v", err, time.Since(start))
		}
		if got := b.Account().Requests["r"]; got != (Tally{Calls: 1, Cancelled: 1, Tokens: 3}) {
			t.Errorf("account is %+v", got)
		}
	})
}

// The token in which an answer breaks off was generated and is not sent.
func TestCutIsAccountedFor(t *testing.T) {
	for after, want := range map[int]string{0: "", 3: "水车照", 100: "水车照看着"} {
		b := instant(t, map[string]Profile{"m": {Fault: FaultCut, FaultAfter: after}})
		events, err := listen(t, b, ask("m", "say: 水车照看着河"))
		if backend.ClassOf(err) != backend.Broken || content(events) != want {
			t.Errorf("cut after %d: %q, %v, want %q", after, content(events), err, want)
		}
		if got := b.Account().Requests["r"]; got != (Tally{Calls: 1, Faulted: 1, Tokens: int64(utf8.RuneCountInString(want) + 1)}) {
			t.Errorf("cut after %d: account is %+v", after, got)
		}
	}
}

func TestAccount(t *testing.T) {
	b, err := New(Config{Models: map[string]Profile{"m": {}, "e": {Fault: FaultError}}, AccountedCalls: 2})
	if err != nil {
		t.Fatal(err)
	}
	call := func(id, model string, take int) {
		req := ask(model, "tokens: 10")
		req.RequestID = id
		s, err := b.Generate(context.Background(), req)
		if err != nil {
			return
		}
		for range take {
			s.Recv()
		}
		s.Close()
	}
	call("a", "m", 100)
	call("b", "e", 0)
	call("b", "m", 5) // start and four tokens
	if got, want := b.Account().Requests["b"], (Tally{Calls: 2, Cancelled: 1, Faulted: 1, Tokens: 4}); got != want {
		t.Errorf("account of b is %+v, want %+v", got, want)
	}
	call("c", "m", 100)
	call("d", "m", 100)
	got := b.Account()
	if want := (Tally{Calls: 5, Whole: 3, Cancelled: 1, Faulted: 1, Tokens: 34}); got.Tally != want {
		t.Errorf("totals are %+v, want %+v", got.Tally, want)
	}
	if len(got.Requests) != 2 || got.Requests["c"].Whole != 1 || got.Requests["d"].Whole != 1 {
		t.Errorf("kept are %+v, want c and d", got.Requests)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for want, c := range map[string]Config{
		"has no name":            {Models: map[string]Profile{"": {}}},
		"\"m\": time to first":   {Models: map[string]Profile{"m": {TimeToFirstToken: -1}}},
		"\"m\": tokens per":      {Models: map[string]Profile{"m": {TokensPerSecond: -1}}},
		"\"m\": jitter":          {Models: map[string]Profile{"m": {Jitter: 1.5}}},
		"\"m\": context":         {Models: map[string]Profile{"m": {ContextTokens: -1}}},
		"\"m\": cached":          {Models: map[string]Profile{"m": {CachedShare: 2}}},
		"\"m\": fault after":     {Models: map[string]Profile{"m": {FaultAfter: -1}}},
		"\"m\": retry after":     {Models: map[string]Profile{"m": {RetryAfter: -1}}},
		"\"x\" is not a fault":   {Models: map[string]Profile{"m": {Fault: "x"}}},
		"accounted calls are -1": {AccountedCalls: -1},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one that says %q", err, want)
		}
	}
}

func TestRejected(t *testing.T) {
	b := instant(t, nil)
	zero := 0
	for name, change := range map[string]func(*backend.Request){
		"no message":          func(r *backend.Request) { r.Messages = nil },
		"too many candidates": func(r *backend.Request) { r.Candidates = MaxCandidates + 1 },
		"no room":             func(r *backend.Request) { r.MaxOutputTokens = &zero },
	} {
		req := ask("m", "x")
		change(req)
		if _, err := b.Generate(context.Background(), req); err == nil || backend.ClassOf(err) != backend.Rejected {
			t.Errorf("%s: %v", name, err)
		}
	}
}
