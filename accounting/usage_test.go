package accounting_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
)

func drawUsage(t *rapid.T, most int64) accounting.Usage {
	var u accounting.Usage
	for _, m := range accounting.Meters() {
		if rapid.Bool().Draw(t, "known") {
			u.Set(m, rapid.Int64Range(0, most).Draw(t, m.String()))
		}
	}
	return u
}

func TestAbsentIsNotZero(t *testing.T) {
	var unknown, none accounting.Usage
	none.Set(accounting.Output, 0)
	if unknown.Known() || !none.Known() || unknown == none {
		t.Error("a usage that nobody counted is as good as one of nothing")
	}
	if _, ok := unknown.OutputTokens(); ok {
		t.Error("output tokens that nobody counted are known")
	}
	if n, ok := none.OutputTokens(); !ok || n != 0 {
		t.Errorf("output tokens %d, %t; want 0, known", n, ok)
	}
	if _, ok := none.InputTokens(); ok {
		t.Error("input tokens are known, and only output was counted")
	}
	text, err := json.Marshal(none)
	if err != nil || string(text) != `{"output":0}` {
		t.Errorf("JSON %s, %v", text, err)
	}
}

// An OpenAI answer of 100 prompt tokens, 80 of them cached, is 100 input
// tokens: the drivers make the meters disjoint, and no sum may add the cached
// ones again.
func TestCacheTokensAreNotCountedTwice(t *testing.T) {
	var u accounting.Usage
	u.Set(accounting.Input, 20)
	u.Set(accounting.CacheRead, 80)
	u.Set(accounting.Output, 10)
	u.Set(accounting.Reasoning, 5)
	u.Set(accounting.Requests, 1)
	if n, _ := u.InputTokens(); n != 100 {
		t.Errorf("%d input tokens; want 100", n)
	}
	if n, _ := u.OutputTokens(); n != 15 {
		t.Errorf("%d output tokens; want 15", n)
	}
	if n := u.Tokens(); n != 115 {
		t.Errorf("%d tokens; want 115: a request is no token", n)
	}
}

func TestUsageGoesThroughJSONUnchanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := drawUsage(t, 1<<62)
		text, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		var back accounting.Usage
		back.Set(accounting.Requests, 99) // what was there before is forgotten
		if err := json.Unmarshal(text, &back); err != nil || back != u {
			t.Fatalf("%s reads %+v, %v", text, back, err)
		}
	})
	var u accounting.Usage
	if err := json.Unmarshal([]byte(`{"colour":1}`), &u); err == nil || !strings.Contains(err.Error(), "cache_read") {
		t.Errorf("an unknown meter: %v", err)
	}
}

func TestTheTotalIsTheSumOfTheMeters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := drawUsage(t, 1<<40)
		var sum int64
		for _, m := range accounting.Meters() {
			if n, ok := u.Get(m); ok && m != accounting.Requests {
				sum += n
			}
		}
		if u.Tokens() != sum {
			t.Fatalf("%d tokens; the meters sum to %d", u.Tokens(), sum)
		}
	})
}

func TestNegativeUsageIsNotBelieved(t *testing.T) {
	for _, m := range accounting.Meters() {
		var u accounting.Usage
		u.Set(m, -1)
		if err := u.Check(); err == nil || !strings.Contains(err.Error(), m.String()) {
			t.Errorf("-1 of %s: %v", m, err)
		}
		u.Set(m, 0)
		if err := u.Check(); err != nil {
			t.Errorf("0 of %s: %v", m, err)
		}
	}
}

func TestMetersKeepTheirNames(t *testing.T) {
	want := []string{"input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning", "requests"}
	for i, m := range accounting.Meters() {
		if m.String() != want[i] {
			t.Errorf("meter %d is called %s; rows say %s", i, m, want[i])
		}
		if back, err := accounting.ParseMeter(m.String()); err != nil || back != m {
			t.Errorf("meter %s reads %v, %v", m, back, err)
		}
	}
}

func TestWhoPays(t *testing.T) {
	source, err := os.ReadFile("accounting.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\tOutcome\w+ +Outcome += "(\w+)"`).FindAllSubmatch(source, -1) {
		if o := accounting.Outcome(m[1]); !slices.Contains(accounting.Outcomes(), o) {
			t.Errorf("outcome %s is not among all", o)
		}
	}
	pays := map[accounting.Outcome]bool{
		accounting.OutcomeCompleted: true, accounting.OutcomeCancelled: true, accounting.OutcomeBlocked: true, accounting.OutcomeDeadline: true,
		accounting.OutcomeCut: true, accounting.OutcomeInDoubt: true, accounting.OutcomeFailed: false, accounting.OutcomeBroken: false,
		accounting.OutcomeHedgeLoser: false, accounting.OutcomeCacheHit: true,
	}
	for _, o := range accounting.Outcomes() {
		if want, said := pays[o]; !said || o.Charged() != want {
			t.Errorf("outcome %s charges: %t", o, o.Charged())
		}
	}
}
