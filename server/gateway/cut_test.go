package gateway_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/gateway"
)

const cutting = `
---
kind: Budget
name: cut
tenant: acme
limit: 200 tokens
window: total
cut: true
`

// An answer ends where its budget does, and not a token later.
func TestABudgetThatCutsEndsTheAnswerAtItsLimit(t *testing.T) {
	h := newHouse(t, cutting)
	call := newCall("tokens: 1000")
	limit := 1000
	call.Request.MaxOutputTokens = &limit
	told, answer, err := h.ask(context.Background(), call)
	if err != nil || answer.Finish[0] != backend.FinishBudget || answer.Outcome != accounting.OutcomeCut {
		t.Fatalf("finish %v, outcome %s, %v", answer.Finish, answer.Outcome, err)
	}
	in, _ := answer.Usage.InputTokens()
	out, _ := answer.Usage.OutputTokens()
	if answer.Source != accounting.SourceGateway || in+out < 195 || in+out > 200 {
		t.Errorf("%d tokens in and %d out by %s, of 200", in, out, answer.Source)
	}
	if n := h.Sim.CountOutput("", told); int64(n) != out {
		t.Errorf("%d tokens were told, %d are charged", n, out)
	}
	h.Sync()
	state, _, err := h.Store.Window(context.Background(), "acme/cut/tenant/total")
	if err != nil || state.Spent != in+out || state.Overrun != 0 {
		t.Errorf("window %+v, %v", state, err)
	}
	if lines := h.lines(call); len(lines) != 1 || lines[0].Outcome != accounting.OutcomeCut {
		t.Errorf("lines %+v", lines)
	}
	if _, _, err := h.ask(context.Background(), newCall("tokens: 1000")); reason(err) != gateway.BudgetExhausted {
		t.Errorf("a call on an empty budget: %v", err)
	}
}

// Many calls share what is left; each gets an answer, whole or cut, or nothing.
func TestManyCallsAreCutAtOneLimit(t *testing.T) {
	h := newHouse(t, cutting)
	limit := 1000
	var cut, refused atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			call := newCall("tokens: 120")
			call.Request.MaxOutputTokens = &limit
			_, answer, err := h.ask(context.Background(), call)
			switch {
			case reason(err) == gateway.BudgetExhausted:
				refused.Add(1)
			case err != nil:
				t.Error(err)
			case answer.Finish[0] == backend.FinishBudget:
				cut.Add(1)
			}
		})
	}
	all.Wait()
	h.Sync()
	state, _, err := h.Store.Window(context.Background(), "acme/cut/tenant/total")
	if err != nil || cut.Load() == 0 || refused.Load() == 0 || state.Spent < 190 || state.Spent > 200 || state.Overrun != 0 {
		t.Errorf("%d were cut, %d refused: %+v, %v", cut.Load(), refused.Load(), state, err)
	}
}
