package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/route"
)

// attempts are those at one request, target by target. They belong to the
// goroutine of the call.
type attempts struct {
	gateway *Gateway
	call    *Call
	rules   *policy.Effective
	model   *route.Model
	request backend.Request
	sink    Sink
	answer  *Answer
	tally   *ledger.Tally
	tries   route.Tries
	recall  *recall

	failure error    // what the caller is told where no target answers; nil before one has failed
	before  []string // the targets that have failed, and how
}

// next is an attempt at the next target, or why there is none.
func (s *attempts) next(ctx context.Context) (*attempt, error) {
	try, err := s.tries.Next(s.gateway.Now())
	if err != nil || try.Target == nil {
		if s.failure != nil {
			return nil, s.failure
		}
		return nil, noTarget(err, nil)
	}
	if s.failure != nil {
		try.Reason += ", after " + strings.Join(s.before, ", ")
		s.goesOn(ctx, try.Name)
	}
	return s.at(&try), nil
}

// at is an attempt at a target.
func (s *attempts) at(try *route.Try) *attempt {
	return &attempt{
		gateway: s.gateway, call: s.call, rules: s.rules, sink: s.sink, answer: s.answer, tally: s.tally,
		target: *try.Target, try: try, tries: &s.tries, number: s.answer.Attempts + 1,
		request: s.request, recall: s.recall, sign: errNotAsked,
	}
}

// failed notes that an attempt has failed.
func (s *attempts) failed(a *attempt, err error) {
	var e *Error
	if s.failure == nil || !errors.As(err, &e) || e.Reason != BudgetExhausted {
		s.failure = err
	}
	s.before = append(s.before, fmt.Sprintf("%s (%s)", a.try.Name, howItFailed(err)))
}

// goesOn forgets what the failed attempt said, and what was found in it.
func (s *attempts) goesOn(ctx context.Context, next string) {
	s.answer.Verdicts, s.answer.UnjudgedBytes = nil, 0
	s.answer.FirstOutput = time.Time{}
	if r, ok := s.sink.(Restarter); ok {
		r.Restart()
	}
	s.gateway.Log.WarnContext(ctx, "target failed, trying the next", "request_id", s.call.RequestID, "next", next, "error", Logged(s.failure))
}
