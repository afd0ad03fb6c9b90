package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/route"
)

// reroute gives a house other targets for the model "sim".
func (h *house) reroute(targets ...route.Target) {
	h.t.Helper()
	for i := range targets {
		if targets[i].Backend == nil {
			targets[i].Backend, targets[i].Model = h.Sim, "sim"
		}
	}
	router, err := route.New([]route.Model{{Name: "sim", MaxOutputTokens: 100, Targets: targets}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.Router = func() *route.Router { return router }
}

func TestTheAnswerTellsWhyItsTarget(t *testing.T) {
	h := newHouse(t, "", simulator.Profile{Fault: simulator.FaultRefused}, simulator.Profile{Fault: simulator.FaultError}, simulator.Profile{})
	call := newCall("say: hello")
	_, answer, err := h.ask(context.Background(), call)
	if want := "the only one of its tier that can be had, after b0 (unreachable), b1 (failed)"; err != nil || answer.Target.Reason != want {
		t.Errorf("reason %q, want %q, %v", answer.Target.Reason, want, err)
	}
	var reasons []string
	for _, l := range h.lines(call) {
		reasons = append(reasons, l.Reason)
	}
	only := "the only one of its tier that can be had"
	if want := []string{only, only + ", after b0 (unreachable)", answer.Target.Reason}; !slices.Equal(reasons, want) {
		t.Errorf("the ledger has the reasons %q, want %q", reasons, want)
	}
}

// residents is a policy that keeps what it finds at home.
const residents = `
kind: Policy
name: base
tenant: acme
safety: {input: [{guard: pii, entities: [cn_resident_id, email], action: flag}]}
routing: [{when: "verdict.has('pii/cn_resident_id')", only: private}]
`

const residentID = "11010519491231002X" // the example of GB 11643

func TestWhatIsFoundNarrowsThePlan(t *testing.T) {
	h := newHouse(t, residents)
	h.reroute(route.Target{Name: "public"}, route.Target{Name: "home", Tags: []string{"private"}, Priority: 1})
	for prompt, want := range map[string]string{
		"say: hello":                    "public",
		"say: write to ada@example.org": "public",
		"say: 我的身份证号是" + residentID + "。":                      "home",
		"say: " + strings.Repeat("a@b.org ", 300) + residentID: "home", // one of very many findings
	} {
		_, answer, err := h.ask(context.Background(), newCall(prompt))
		if err != nil || answer.Target.Backend != want {
			t.Errorf("%.60s went to %q, want %q, %v", prompt, answer.Target.Backend, want, err)
		}
	}
	// Where no target may have it, nobody gets it.
	h.reroute(route.Target{Name: "public"})
	call := newCall("say: " + residentID)
	_, answer, err := h.ask(context.Background(), call)
	var e *gateway.Error
	if !errors.As(err, &e) || e.Reason != gateway.InputBlocked || !strings.Contains(e.Message, `policy "acme/base"`) || !strings.Contains(e.Message, `"private"`) || strings.Contains(e.Message, residentID) {
		t.Fatalf("%v", err)
	}
	if len(e.Verdicts) != 1 || e.Verdicts[0].Action != policy.Flag || answer.Attempts != 0 || len(h.lines(call)) != 0 {
		t.Errorf("%+v, %d attempts", e.Verdicts, answer.Attempts)
	}
}

func TestARestOfABackendIsObeyed(t *testing.T) {
	h := newHouse(t, "", simulator.Profile{Fault: simulator.FaultRateLimited, RetryAfter: 30 * time.Second})
	now := time.Now()
	h.Clock = func() time.Time { return now }
	for i, want := range []struct {
		passed, retry time.Duration
		attempts      int
	}{{0, 30 * time.Second, 1}, {10 * time.Second, 20 * time.Second, 0}, {20 * time.Second, 30 * time.Second, 1}} {
		now = now.Add(want.passed)
		call := newCall("say: hello")
		_, _, err := h.ask(context.Background(), call)
		var e *gateway.Error
		if !errors.As(err, &e) || e.Reason != gateway.BackendOverloaded || e.RetryAfter != want.retry {
			t.Errorf("call %d: %+v", i, err)
		}
		if n := len(h.lines(call)); n != want.attempts {
			t.Errorf("call %d: %d attempts, want %d", i, n, want.attempts)
		}
	}
}

// Beyond the budget a failure is a failure, so that a backend in trouble does
// not get its calls twice.
func TestRetriesEndWithTheirBudget(t *testing.T) {
	h := newHouse(t, "", simulator.Profile{Fault: simulator.FaultRateLimited}, simulator.Profile{Fault: simulator.FaultRateLimited})
	now := time.Now()
	h.Clock = func() time.Time { return now }
	attempts := 0
	for range 100 {
		call := newCall("say: hello")
		if _, _, err := h.ask(context.Background(), call); reason(err) != gateway.BackendOverloaded {
			t.Fatal(err)
		}
		attempts += len(h.lines(call))
	}
	if attempts != 130 {
		t.Errorf("%d attempts of 100 calls, want 100 and their fifth and the 10 that are always there", attempts)
	}
}

func TestASilentTargetLeavesTimeForTheNext(t *testing.T) {
	for name, fault := range map[string]simulator.Profile{
		"no first byte": {TimeToFirstToken: time.Hour},
		"stall":         {Fault: simulator.FaultStall, FaultAfter: 2},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				h := newHouse(t, "", fault, simulator.Profile{})
				text, answer, err := h.ask(context.Background(), newCall("say: one two three four"))
				if err != nil || text != "one two three four" || answer.Target.Backend != "b1" || !strings.Contains(answer.Target.Reason, "b0 (unreachable)") {
					t.Errorf("%q %+v %v", text, answer.Target, err)
				}
			})
		})
	}
}

func targets(h *house, n int) (all []route.Target) {
	for i := range n {
		model := "sim"
		if i > 0 {
			model = fmt.Sprintf("sim-%d", i)
		}
		all = append(all, route.Target{Name: fmt.Sprintf("b%d", i), Backend: h.Sim, Model: model})
	}
	return all
}

// Where a call may go can hang on a rule that changes nothing else, so the call
// waits for its answer.
func TestARuleThatOnlyFlagsIsWaitedFor(t *testing.T) {
	h := newJudged(t, remotePolicy("input", "{guard: remote, kind: guard_model, model: llama-guard, action: flag}")+
		`routing: [{when: "verdict.has('hazard') || verdict.has('remote/unjudged')", only: private}]`+"\n")
	judges, _ := h.House.Router().Plan("llama-guard")
	router, err := route.New([]route.Model{*judges, {Name: "sim", MaxOutputTokens: 100, Targets: []route.Target{
		{Name: "public", Backend: h.Sim, Model: "sim"}, {Name: "home", Backend: h.Sim, Model: "sim", Tags: []string{"private"}, Priority: 1},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	h.House.Router = func() *route.Router { return router }
	for _, c := range []struct{ prompt, mode, want string }{
		{"say: a calm river.", "", "public"}, {"say: a zorb.", "", "home"}, {"say: a calm river.", "die", "home"},
	} {
		h.judge.set(c.mode)
		_, answer, err := h.ask(context.Background(), newCall(c.prompt))
		if err != nil || answer.Target.Backend != c.want {
			t.Errorf("%s went to %q, want %q, %v", c.prompt, answer.Target.Backend, c.want, err)
		}
	}
}
