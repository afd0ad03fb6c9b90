package gateway_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway"
)

// tokenRate is a house in which keys have so many tokens, and a clock that a test
// moves.
func tokenRate(t *testing.T, rate string, profiles ...simulator.Profile) (*house, *time.Time) {
	h := newHouse(t, "kind: Policy\nname: base\ntenant: acme\nrates: [{per: key, "+rate+"}]\nsafety: {input: [{guard: lexicon, terms: [forbidden], action: block}]}\n", profiles...)
	now := time.Now()
	h.Clock = func() time.Time { return now }
	return h, &now
}

func refusal(t *testing.T, err error) *gateway.Error {
	t.Helper()
	var e *gateway.Error
	if !errors.As(err, &e) || e.Reason != gateway.RateLimitExceeded || e.RetryAfter <= 0 || e.Rate == nil || !e.Rate.Tokens {
		t.Fatalf("%+v", err)
	}
	return e
}

func TestATokenRateRefusesUntilTheTokensAreThere(t *testing.T) {
	h, now := tokenRate(t, "tokens: 60/min, token_burst: 20")
	_, answer, err := h.ask(context.Background(), newCall("say: "+strings.Repeat("word ", 50)))
	if err != nil {
		t.Fatal(err)
	}
	used := answer.Usage.Tokens()
	_, _, err = h.ask(context.Background(), newCall("hello"))
	e := refusal(t, err)
	if want := time.Duration(used-20+1) * time.Second; e.RetryAfter != want || !strings.Contains(e.Message, "token rate of 60/min") {
		t.Errorf("%d tokens of 20 were used, and it is %s: %s", used, e.RetryAfter, e.Message)
	}
	*now = now.Add(e.RetryAfter - time.Millisecond)
	_, _, err = h.ask(context.Background(), newCall("hello"))
	refusal(t, err)
	*now = now.Add(time.Millisecond)
	if _, _, err := h.ask(context.Background(), newCall("hello")); err != nil {
		t.Errorf("there was no place at the time that was told: %v", err)
	}
}

// An answer may have 100 tokens here, and that is what a call takes until it ends.
func TestTokensThatAreNotUsedComeBack(t *testing.T) {
	h, _ := tokenRate(t, "tokens: 1/day, token_burst: 300")
	var sum int64
	for range 8 {
		_, answer, err := h.ask(context.Background(), newCall("say: hi"))
		if err != nil {
			t.Fatalf("%d tokens of 300 were used: %v", sum, err)
		}
		sum += answer.Usage.Tokens()
	}
	if _, _, err := h.ask(context.Background(), newCall("forbidden")); reason(err) != gateway.InputBlocked {
		t.Fatal(err)
	}
	for sum < 300 {
		_, answer, err := h.ask(context.Background(), newCall("say: hi"))
		if err != nil {
			t.Fatalf("%d tokens of 300 were used: %v", sum, err)
		}
		sum += answer.Usage.Tokens()
	}
	_, _, err := h.ask(context.Background(), newCall("say: hi"))
	refusal(t, err)
	if _, err := h.Moderate(context.Background(), newCall(""), []string{"hi"}); err != nil {
		t.Errorf("a moderation, which uses none, waits for tokens: %v", err)
	}
}

// An attempt that broke off has used what it said.
func TestABrokenAnswerUsesTokens(t *testing.T) {
	h, _ := tokenRate(t, "tokens: 1/day, token_burst: 5", simulator.Profile{Fault: simulator.FaultCut, FaultAfter: 3})
	if _, answer, err := h.ask(context.Background(), newCall("say: one two three four five six seven")); err == nil || answer.Usage.Tokens() < 5 {
		t.Fatalf("%+v, %v", answer.Usage, err)
	}
	_, _, err := h.ask(context.Background(), newCall("hello"))
	refusal(t, err)
}
