package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/admit"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/route"
)

// A Reason names a failure of a call, as ErrorReason of weir.v1 does.
type Reason string

// The reasons.
const (
	InvalidRequest        Reason = "INVALID_REQUEST"
	UnsupportedFeature    Reason = "UNSUPPORTED_FEATURE"
	ContextLengthExceeded Reason = "CONTEXT_LENGTH_EXCEEDED"
	ModelNotFound         Reason = "MODEL_NOT_FOUND"
	InputBlocked          Reason = "INPUT_BLOCKED"
	RateLimitExceeded     Reason = "RATE_LIMIT_EXCEEDED"
	BudgetExhausted       Reason = "BUDGET_EXHAUSTED"
	UnpricedModel         Reason = "UNPRICED_MODEL"
	BackendOverloaded     Reason = "BACKEND_OVERLOADED"
	BackendUnavailable    Reason = "BACKEND_UNAVAILABLE"
	BackendProtocol       Reason = "BACKEND_PROTOCOL"
	BackendCredentials    Reason = "BACKEND_CREDENTIALS"
	DeadlineExceeded      Reason = "DEADLINE_EXCEEDED"
	Cancelled             Reason = "CANCELLED"
	StreamBroken          Reason = "STREAM_BROKEN"
	AccountingUnavailable Reason = "ACCOUNTING_UNAVAILABLE"
	IdempotencyKeyTaken   Reason = "IDEMPOTENCY_KEY_TAKEN"
	CallRunning           Reason = "CALL_RUNNING"
	AnswerNotKept         Reason = "ANSWER_NOT_KEPT"
)

// An Error is why a call failed. Message is for the caller; Err is for the
// operator's log and is never shown.
type Error struct {
	Reason  Reason
	Message string
	// Field is the field of the request that is wrong, as weir.v1 names it.
	Field string
	// Subject is whose quota is exhausted, such as "tenants/acme/budgets/cap" or
	// "context.max_cost", or the model that is missing.
	Subject string
	// Stage is where the time went of a call whose deadline passed: admission or
	// backend.
	Stage string
	// RetryAfter is when trying again makes sense, 0 where it does not.
	RetryAfter time.Duration
	// Rate is how the rate stands that refused the call, nil for other failures
	// and for limits of running calls.
	Rate *Rate
	// FirstRequestID is the call that has the idempotency key, where another one is
	// why this one fails.
	FirstRequestID string
	// Verdicts are those that blocked the input.
	Verdicts []policy.Verdict
	Err      error
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Err }

// Logged is an error as the operator's log may have it: with its cause.
func Logged(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return err.Error()
}

func unknownModel(model string) error {
	return &Error{Reason: ModelNotFound, Subject: model, Message: fmt.Sprintf("there is no model %q: list the models to see which there are", model)}
}

// noTarget tells why no target is there to be tried.
func noTarget(err error, found []policy.Verdict) error {
	var none *route.NoTargetError
	var resting *route.RestingError
	switch {
	case errors.As(err, &none) && len(none.Narrowed) > 0:
		return &Error{Reason: InputBlocked, Message: none.Error(), Verdicts: found}
	case errors.As(err, &none):
		return &Error{Reason: ModelNotFound, Subject: none.Model, Message: none.Error()}
	case errors.As(err, &resting):
		return &Error{
			Reason: BackendOverloaded, RetryAfter: resting.After, Err: err,
			Message: fmt.Sprintf("model %q has no free capacity at the moment", resting.Model),
		}
	}
	return err
}

func unsupported(field, message string) error {
	return &Error{Reason: UnsupportedFeature, Field: field, Message: message}
}

func inputBlocked(verdicts []policy.Verdict) error {
	var blocking []policy.Verdict
	for _, v := range verdicts {
		if v.Action == policy.Block {
			blocking = append(blocking, v)
		}
	}
	message := "the input was blocked by policy"
	if len(blocking) > 0 {
		message = fmt.Sprintf("the input was blocked by rule %q of policy %q", blocking[0].Rule, blocking[0].Policy)
	}
	return &Error{Reason: InputBlocked, Message: message, Verdicts: blocking}
}

// refused turns what admit and the ledger refuse into what a caller is told. Only
// the call's own context says that its time is over: an error may be of a
// shorter one, in which the store did not answer.
func refused(ctx context.Context, err error) error {
	var limit *admit.LimitError
	var exhausted *accounting.ExhaustedError
	var bound *ledger.BoundError
	var unpriced *ledger.UnpricedError
	switch {
	case errors.As(err, &limit):
		return &Error{Reason: RateLimitExceeded, Message: limit.Error(), Subject: limit.Subject, RetryAfter: limit.RetryAfter, Rate: rateOf(limit.Rate)}
	case errors.As(err, &exhausted):
		w := exhausted.Claim.Window
		return &Error{Reason: BudgetExhausted, Message: exhausted.Error(), Subject: fmt.Sprintf("tenants/%s/budgets/%s", w.Tenant, w.Budget)}
	case errors.As(err, &bound) && bound.Budget == "":
		return &Error{Reason: BudgetExhausted, Message: bound.Error(), Subject: "context.max_cost"}
	case errors.As(err, &bound):
		return &Error{Reason: BudgetExhausted, Message: bound.Error(), Subject: fmt.Sprintf("tenants/%s/budgets/%s", bound.Tenant, bound.Budget)}
	case errors.As(err, &unpriced):
		return &Error{Reason: UnpricedModel, Message: unpriced.Error()}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &Error{Reason: DeadlineExceeded, Stage: "admission", Message: "the deadline passed before the call was admitted", Err: err}
	case errors.Is(ctx.Err(), context.Canceled):
		return &Error{Reason: Cancelled, Message: "the caller cancelled the call", Err: err}
	}
	return cannotAccount(err, false)
}

// A Rate is a rate of requests, or of tokens, as it stands: what it allows at
// once, what is left of that, and how long until all of it is there again.
type Rate struct {
	Tokens           bool
	Limit, Remaining int64
	Reset            time.Duration
}

func rateOf(s *admit.Standing) *Rate {
	if s == nil {
		return nil
	}
	return &Rate{s.Tokens, s.Limit, s.Remaining, s.Reset}
}

func cannotAccount(err error, released bool) error {
	if released {
		return &Error{Reason: StreamBroken, Message: "the answer could not be accounted for, so it ends without an OK", Err: err}
	}
	return &Error{Reason: AccountingUnavailable, Message: "the call cannot be accounted for at the moment; try again", RetryAfter: time.Second, Err: err}
}

// sinkError marks a failure of the sink: the caller is gone.
type sinkError struct{ error }

func (e *sinkError) Unwrap() error { return e.error }

func isSinkError(err error) bool {
	var e *sinkError
	return errors.As(err, &e)
}

// elsewhereHelps tells whether another target may do better.
func elsewhereHelps(err error) bool {
	if isSinkError(err) {
		return false
	}
	var e *backend.Error
	if errors.As(err, &e) {
		return e.ElsewhereHelps()
	}
	var told *Error
	if errors.As(err, &told) {
		switch told.Reason {
		case BudgetExhausted, UnpricedModel, UnsupportedFeature:
			return true // a cheaper or more able target may do
		}
	}
	return false
}

// failed turns what cut an attempt short into what the caller is told. What a
// backend says of itself stays in Err.
func (a *attempt) failed(ctx context.Context, cause error) error {
	told := func(r Reason, retry time.Duration, message string) error {
		return &Error{Reason: r, Message: message, RetryAfter: retry, Err: cause}
	}
	var e *backend.Error
	switch {
	case isSinkError(cause) || errors.Is(ctx.Err(), context.Canceled):
		return told(Cancelled, 0, "the caller cancelled the call")
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &Error{Reason: DeadlineExceeded, Stage: "backend", Message: fmt.Sprintf("the deadline passed while model %q was answering", a.call.Model), Err: cause}
	case a.seen():
		return told(StreamBroken, 0, fmt.Sprintf("the answer of model %q broke off; what was sent is charged to nobody", a.call.Model))
	case !errors.As(cause, &e):
		return cause
	}
	retry := e.RetryAfter
	if retry == 0 {
		retry = time.Second
	}
	switch e.Class {
	case backend.Overloaded, backend.RateLimited:
		return told(BackendOverloaded, retry, fmt.Sprintf("model %q has no free capacity at the moment", a.call.Model))
	case backend.ContextExceeded:
		return told(ContextLengthExceeded, 0, fmt.Sprintf("the messages are too long for model %q: shorten them or ask for less output", a.call.Model))
	case backend.Rejected:
		return told(InvalidRequest, 0, fmt.Sprintf("model %q does not take this request: check its parameters against what the model allows", a.call.Model))
	case backend.Broken:
		return told(BackendUnavailable, retry, fmt.Sprintf("the answer of model %q broke off before any of it was sent; it is charged to nobody", a.call.Model))
	case backend.Credentials:
		return told(BackendCredentials, 0, fmt.Sprintf("the backend of model %q refuses this gateway: tell your operator", a.call.Model))
	case backend.Protocol:
		return told(BackendProtocol, 0, fmt.Sprintf("the backend of model %q answered something that makes no sense: tell your operator", a.call.Model))
	}
	return told(BackendUnavailable, retry, fmt.Sprintf("model %q cannot be reached at the moment", a.call.Model))
}
