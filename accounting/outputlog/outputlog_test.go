package outputlog_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/outputlog"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newRedactor(t testing.TB) *outputlog.Redactor {
	t.Helper()
	r, err := outputlog.NewRedactor(guard.All())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What nobody may find, and what only mode full may keep. The key has the form
// of a real one.
const (
	secret = "AKIA" + "IOSFODNN7EXAMPLF"
	person = "ada@example.org"
)

// talk is a record with both in every place that has text.
func talk(mode string) outputlog.Record {
	text := "tell " + person + " the key " + secret
	return outputlog.Record{
		RequestID: "r1", Mode: mode, Probability: 1, Model: "m",
		Subject: accounting.Subject{Tenant: "acme", EndUser: secret, Session: secret, Labels: map[string]string{"team": secret}},
		Messages: []outputlog.Message{
			{Role: "system", Name: "n", Parts: []outputlog.Part{{Channel: "content", Text: text}}},
			{Role: "assistant", Parts: []outputlog.Part{{Channel: "arguments", Text: `{"to":"` + person + `","k":"` + secret + `"}`, CallID: "c", Tool: "f"}}},
			{Role: "tool", Parts: []outputlog.Part{{Channel: "result", Text: text, CallID: "c", Tool: "f"}}},
		},
		Candidates: []outputlog.Candidate{{Finish: "stop", Parts: []outputlog.Part{
			{Channel: "reasoning", Text: text}, {Channel: "content", Text: text}, {Channel: "refusal", Text: text},
			// As JSON may spell them, and in no JSON at all.
			{Channel: "arguments", Text: `{"to":"ada\u0040example.org","k":"` + strings.Replace(secret, "I", `\u0049`, 1) + `"}`, CallID: secret, Tool: person},
			{Channel: "arguments", Text: text},
		}}},
	}
}

func TestAModeKeepsNoMoreThanItSays(t *testing.T) {
	r := newRedactor(t)
	for mode, want := range map[string]struct{ content, person bool }{
		outputlog.ModeMetadata: {false, false}, outputlog.ModeRedacted: {true, false}, outputlog.ModeFull: {true, true},
	} {
		given := talk(mode)
		before := fmt.Sprintf("%+v", given)
		redacted, keep := r.Redact(given)
		if !keep {
			t.Errorf("mode %s keeps nothing", mode)
		}
		got := redacted.Record()
		text := fmt.Sprintf("%+v", got)
		if strings.Contains(text, secret) || strings.Contains(text, secret[8:]) {
			t.Errorf("mode %s keeps a secret: %s", mode, text)
		}
		if strings.Contains(text, person) != want.person || strings.Contains(text, "u0040example") != want.person {
			t.Errorf("mode %s and a person: %s", mode, text)
		}
		if (got.Messages != nil) != want.content || (got.Candidates != nil) != want.content {
			t.Errorf("mode %s and content: %s", mode, text)
		}
		if want.content && (got.Messages[1].Parts[0].CallID != "c" || !strings.HasPrefix(got.Candidates[0].Parts[1].Text, "tell ")) {
			t.Errorf("mode %s loses what is nobody's secret: %s", mode, text)
		}
		if after := fmt.Sprintf("%+v", given); after != before {
			t.Errorf("mode %s changed what it was given: %s", mode, after)
		}
	}
	for _, mode := range []string{outputlog.ModeNone, "", "all"} {
		if got, keep := r.Redact(talk(mode)); keep || got.Record().RequestID != "" {
			t.Errorf("mode %q keeps %+v", mode, got)
		}
	}
}

func TestARatingIsRedacted(t *testing.T) {
	r := newRedactor(t)
	said := "ask " + person + ", not " + secret
	for mode, person := range map[string]bool{outputlog.ModeMetadata: false, outputlog.ModeRedacted: false, outputlog.ModeFull: true} {
		got := r.RedactRating(outputlog.Rating{Comment: said, Corrected: said}, mode).Rating()
		for _, text := range []string{got.Comment, got.Corrected} {
			if strings.Contains(text, secret) || strings.Contains(text, "@") != person || !strings.HasPrefix(text, "ask ") {
				t.Errorf("mode %s: %q", mode, text)
			}
		}
	}
}

func TestWithoutItsGuardsThereIsNoRedactor(t *testing.T) {
	factories := guard.All()
	delete(factories, "secrets")
	if _, err := outputlog.NewRedactor(factories); err == nil || !strings.Contains(err.Error(), "secrets") {
		t.Errorf("%v", err)
	}
	if _, err := outputlog.NewRedactor(map[string]policy.Factory{}); err == nil {
		t.Error("no guards, and no error")
	}
}

// Ids as they come: of version 7, so that the first half hardly varies.
func requestIDs(n int) []string {
	chance := rand.New(rand.NewPCG(1, 2))
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("01a20d97-%04x-7%03x-8%03x-%012x", i/100, chance.IntN(1<<12), chance.IntN(1<<12), chance.Int64N(1<<48))
	}
	return ids
}

func TestSamplesHaveTheSizeThatTheProbabilitySays(t *testing.T) {
	const n = 200_000
	ids := requestIDs(n)
	for _, share := range []int64{0, 100, 10_000, 250_000, 500_000, 999_000, 1_000_000} {
		kept := 0
		for _, id := range ids {
			if outputlog.Sampled(id, share) {
				kept++
			}
		}
		// Five standard deviations of the binomial distribution.
		p := outputlog.Probability(share)
		if off, most := math.Abs(float64(kept)-n*p), 5*math.Sqrt(n*p*(1-p)); off > most {
			t.Errorf("share %d: %d of %d, which is %.0f off; at most %.0f", share, kept, n, off, most)
		}
	}
}

func TestASampleIsPartOfEveryGreaterOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.String().Draw(t, "id")
		a, b := rapid.Int64Range(-1, 1_000_001).Draw(t, "a"), rapid.Int64Range(-1, 1_000_001).Draw(t, "b")
		if a > b {
			a, b = b, a
		}
		if outputlog.Sampled(id, a) && !outputlog.Sampled(id, b) {
			t.Fatalf("%q is in %d and not in %d", id, a, b)
		}
		if p := outputlog.Probability(a); p < 0 || p > 1 {
			t.Fatalf("probability %v", p)
		}
	})
}
