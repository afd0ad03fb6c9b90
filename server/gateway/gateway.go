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
	"time"

	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/outputlog"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/admit"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/cache"
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
	// Claims are where idempotency keys are claimed. Nil refuses calls that bring
	// one.
	Claims *Claims
	// Cache keeps answers of the models that say so; nil keeps none.
	Cache *cache.Cache
	// Judge asks what a rule of a call has to ask somebody, and returns when it
	// knows or when the context ends. It is called by many goroutines. Nil where
	// no policy can have such rules.
	Judge func(context.Context, *Call, policy.Question) policy.Judgement

	// Price tells what a target costs, for the conditions of targets; nothing is
	// charged by it. Nil where no price is known.
	Price func(t *route.Target, model string) (policy.Price, bool)

	// Follower is told of the stages of calls; nil where nobody wants to know.
	Follower Follower

	// MaxDuration bounds a call that sets no earlier deadline.
	MaxDuration time.Duration
	// Observe is told of every call that has ended, refused ones too.
	Observe func(*Call, *Answer, error)
	// Record takes what the output log may keep of a call that has ended. It must
	// not wait. Nil keeps nothing.
	Record func(outputlog.Record)
	Log    *slog.Logger
	Now    func() time.Time
}

// settleTime bounds the one write that a caller cannot cancel.
const settleTime = 10 * time.Second

// Generate answers a call. The text goes to the sink as it is released; the
// rest (why each candidate ended, usage, cost, verdicts) is in the Answer,
// which is returned after the ledger has it. Where the call fails the error is
// an *Error, and the Answer is what is known all the same.
func (g *Gateway) Generate(ctx context.Context, call *Call, sink Sink) (*Answer, error) {
	answer := &Answer{RequestID: call.RequestID, Target: Target{Requested: call.Model}, Start: g.Now()}
	var kept keeping
	err := g.generate(ctx, call, sink, answer, &kept)
	answer.End = g.Now()
	g.Observe(call, answer, err)

	// 8 record: what the policies let the output log keep.
	if kept.some() {
		g.Record(kept.record(call, answer, err))
	}
	return answer, err
}

// settledTime is how long a report waits for the store.
const settledTime = 2 * time.Second

// Settled waits until what was settled here by now can be reported, or for a
// moment at most: a report that lacks the last calls is better than none.
func (g *Gateway) Settled(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settledTime)
	defer cancel()
	_ = g.Ledger.Sync(ctx)
}

func (g *Gateway) generate(ctx context.Context, call *Call, sink Sink, answer *Answer, kept *keeping) error {
	ctx, cancel := context.WithTimeout(ctx, g.MaxDuration)
	defer cancel()

	// 1 resolve: what holds for this caller and model, and who may serve it.
	subject := call.subject()
	rules := g.Policies().Resolve(subject)
	if call.Purpose != "" {
		rules = g.Policies().Resolve(policy.Subject{Project: subject.Project, Model: subject.Model}).Local()
	}
	model, known := g.Router().Plan(call.Model)
	if !known {
		return unknownModel(call.Model)
	}

	// A call that repeats another gets its answer, and takes no place.
	claim, err := g.claim(ctx, call)
	if err != nil {
		return err
	}
	defer claim.release(ctx)
	before := claim.answer()

	// 2 admit: a place in flight. An inner call has that of its parent.
	if call.Purpose == "" && before == nil {
		leave, err := g.Limiter.Admit(ctx, subject, rules.Rates, estimate(call, model, rules.Rates))
		if err != nil {
			return refused(ctx, err)
		}
		defer func() { leave(answer.used) }()
	}
	if g.Record != nil && before == nil {
		sink = kept.begin(call, rules.Outputs, sink)
	}

	// 3 guard in: what the caller says may be redacted, or blocked; by local
	// rules first, then by those that have to ask somebody.
	input := newInput(call.Request)
	defer input.tell(answer)
	judging, judged := g.follower().Input(ctx, call)
	err = input.local(rules)
	if err == nil && rules.Asks(policy.Input) {
		asking := g.ask(judging, call)
		defer asking.stop()
		defer input.hear(ctx, asking)
		err = input.remote(judging, rules, asking)
	}
	judged(err)
	if err != nil {
		return err
	}
	request := input.clean

	// 4 cache: an answer that is already known, judged again: that of the same call,
	// or, below, of another that asks for the same.
	if before != nil {
		return g.repeat(ctx, call, rules, &request, before, sink, answer)
	}
	if err := showable(&request, rules); err != nil {
		return err
	}
	sink = claim.gather(rules.Outputs, sink)
	kept.sent(request.Messages)
	answer.unseen(&request, rules)
	tally := &ledger.Tally{MaxCost: call.MaxCost}
	check, sink := newCheck(request.Format, sink, answer)
	recall := g.recall(call, model, &request, answer)
	if err := g.attempts(ctx, call, rules, model, request, recall, input, sink, answer, tally); err != nil {
		return err
	}
	attempts := answer.Attempts
	if check != nil {
		g.repair(ctx, check, request, sink, answer, func(ctx context.Context, request backend.Request) error {
			return g.attempts(ctx, call, rules, model, request, nil, input, sink, answer, tally)
		})
	}
	recall.keep(answer, answer.Attempts > attempts, g.Now())
	claim.keep(ctx, rules.Outputs, answer)
	return nil
}

// attempts asks the targets of a model until one has answered, where no answer is
// known.
func (g *Gateway) attempts(ctx context.Context, call *Call, rules *policy.Effective, model *route.Model, request backend.Request, recall *recall, input *input, sink Sink, answer *Answer, tally *ledger.Tally) error {
	subject := call.subject()
	// What was found may narrow where the call may go.
	tries, err := model.Tries(&route.Call{Subject: subject, Request: &request, Only: rules.Narrow(subject, input.verdicts), Price: g.Price})
	if err != nil {
		return noTarget(err, input.verdicts)
	}

	// 5 attempt: target by target, each with a hold of its own, until one has
	// answered. Nothing is tried again once the caller has seen a byte.
	s := &attempts{
		gateway: g, call: call, rules: rules, model: model, request: request,
		sink: sink, answer: answer, tally: tally, tries: tries, recall: recall,
	}
	if target := recall.target(&s.tries); target != nil {
		s.recall = nil
		err := s.recalled(ctx, recall, target)
		if unpriced := (*ledger.UnpricedError)(nil); !errors.As(err, &unpriced) {
			return err
		}
		s.recall = recall // nobody says what the class costs that served it: it is made anew
	}
	for {
		a, err := s.next(ctx)
		if err != nil {
			return err
		}
		if model.HedgeAfter > 0 && s.tries.Left() > 0 {
			a, err = s.race(ctx, a)
		} else {
			err = a.run(ctx, model.MaxOutputTokens)
		}
		if err == nil {
			return nil
		}
		s.failed(a, err)
		if a.seen() || ctx.Err() != nil || !elsewhereHelps(err) || !a.again() {
			return s.failure
		}
		if a.asked {
			pause(ctx, len(s.before))
		}
	}
}
