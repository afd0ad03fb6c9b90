// Package gateway is the life of one call, from a resolved caller to a settled
// bill. Read Generate from top to bottom: no step of a call happens anywhere
// else. Faces turn wire forms into a Call and an Answer; what a guard finds,
// what a price says and how a backend speaks is asked of the packages that
// know it.
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/admit"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/route"
)

// Gateway serves calls. Its fields are set once, before the first call; it is
// safe for concurrent use.
type Gateway struct {
	// Policies and Router return what is in force now. A call asks once and
	// keeps to the answer, so that it never sees two.
	Policies func() *policy.Set
	Router   func() *route.Router
	Limiter  *admit.Limiter
	Ledger   *ledger.Ledger

	// MaxDuration bounds a call that sets no earlier deadline.
	MaxDuration time.Duration
	// Observe is told of every call that has ended, refused ones too.
	Observe func(*Call, *Answer, error)
	Log     *slog.Logger
	Now     func() time.Time
}

// settleTime bounds the one write that a caller cannot cancel.
const settleTime = 10 * time.Second

// Generate answers a call. The text goes to the sink as it is released; the
// rest (why each candidate ended, usage, cost, verdicts) is in the Answer,
// which is returned after the ledger has it. Where the call fails the error is
// an *Error, and the Answer is what is known all the same.
func (g *Gateway) Generate(ctx context.Context, call *Call, sink Sink) (*Answer, error) {
	answer := &Answer{RequestID: call.RequestID, Target: Target{Requested: call.Model}, Start: g.Now()}
	err := g.generate(ctx, call, sink, answer)
	answer.End = g.Now()
	g.Observe(call, answer, err)
	return answer, err
}

func (g *Gateway) generate(ctx context.Context, call *Call, sink Sink, answer *Answer) error {
	ctx, cancel := context.WithTimeout(ctx, g.MaxDuration)
	defer cancel()

	// 1 resolve: what holds for this caller and model, and who may serve it.
	subject := call.subject()
	rules := g.Policies().Resolve(subject)
	model, known := g.Router().Plan(call.Model)
	if !known {
		return unknownModel(call.Model)
	}

	// 2 admit: a place in flight.
	leave, err := g.Limiter.Admit(subject, rules.Rates)
	if err != nil {
		return refused(err)
	}
	defer leave()

	// 3 guard in: what the caller says may be redacted, or blocked.
	request, verdicts, err := guardInput(rules, call.Request)
	answer.Verdicts = verdicts
	if err != nil {
		return err
	}

	// 5 attempt: targets in order, each with a hold of its own, until one has
	// answered. Nothing is tried again once the caller has seen a byte.
	var failure error
	for i, target := range model.Targets {
		if failure != nil {
			// What the failed one said is forgotten, and so is what was found in it.
			answer.Verdicts = verdicts
			answer.FirstOutput = time.Time{}
			if r, ok := sink.(Restarter); ok {
				r.Restart()
			}
			g.Log.WarnContext(ctx, "target failed, trying the next", "request_id", call.RequestID, "next", target.Name, "error", Logged(failure))
		}
		a := attempt{
			gateway: g, call: call, rules: rules, sink: sink, answer: answer,
			target: target, number: answer.Attempts + 1, last: i == len(model.Targets)-1,
		}
		err := a.run(ctx, request, model.MaxOutputTokens)
		if err == nil {
			return nil
		}
		var e *Error
		if failure == nil || !errors.As(err, &e) || e.Reason != BudgetExhausted {
			failure = err
		}
		if a.seen() || ctx.Err() != nil || !elsewhereHelps(err) {
			break
		}
	}
	return failure
}

// guardInput shows every text of a request to the input rules. The request
// that it returns is the one that may go to a backend.
func guardInput(rules *policy.Effective, req backend.Request) (backend.Request, []policy.Verdict, error) {
	clean := make([]backend.Message, len(req.Messages))
	var texts []policy.InputText
	var slots []*string // where each text goes when it has been judged
	for m, message := range req.Messages {
		clean[m] = message
		clean[m].Parts = slices.Clone(message.Parts)
		trusted := message.Role == backend.System || message.Role == backend.Developer
		if message.Name != "" {
			texts = append(texts, policy.InputText{Message: m, Part: -1, Text: message.Name, Trusted: trusted})
			slots = append(slots, &clean[m].Name)
		}
		for p, part := range message.Parts {
			texts = append(texts, policy.InputText{Message: m, Part: p, Text: part.Text, Trusted: trusted})
			slots = append(slots, &clean[m].Parts[p].Text)
		}
	}
	judged := rules.JudgeInput(texts)
	if judged.Blocked {
		return req, judged.Verdicts, inputBlocked(judged.Verdicts)
	}
	for i, to := range slots {
		*to = judged.Texts[i]
	}
	req.Messages = clean
	return req, judged.Verdicts, nil
}
