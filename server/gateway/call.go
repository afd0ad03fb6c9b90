package gateway

import (
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend"
)

// A Call is what a face has understood of a request.
type Call struct {
	// RequestID is ours, a UUIDv7; ClientRequestID is the caller's own, if any.
	RequestID       string
	ClientRequestID string
	Caller          auth.Caller
	// Model is the name the caller uses for the model.
	Model   string
	Request backend.Request
	// Embedding is set, by Embed, of a call that wants a vector of each of its
	// messages and no answer to them.
	Embedding *Embedding
	// Labels, EndUser and Session are the caller's own words, for cost reports
	// and policies.
	Labels  map[string]string
	EndUser string
	Session string
	// IdempotencyKey is the caller's own name for the call, by which it may be
	// repeated; empty where it has none.
	IdempotencyKey string
	// CacheControl is whether the call may have an answer that was generated before.
	CacheControl CacheControl
	// MaxCost is the most that the caller lets the call cost, all its attempts
	// together; nil where it sets no bound. Inner calls are not in it.
	MaxCost *accounting.Money

	// Purpose marks an inner call, such as "guard", and ParentRequestID the call
	// that it belongs to; no face sets them. An inner call is charged to the
	// caller of its parent and must end with it. It takes no place and no rate,
	// is judged by the platform's policies alone, and never leads to another.
	Purpose         string
	ParentRequestID string
}

func (c *Call) subject() policy.Subject {
	return policy.Subject{
		Tenant: c.Caller.Tenant, Project: c.Caller.Project, Key: c.Caller.Key, Model: c.Model,
		EndUser: c.EndUser, Session: c.Session, Labels: c.Labels,
	}
}

func (c *Call) account() accounting.Subject {
	return accounting.Subject{
		Tenant: c.Caller.Tenant, Project: c.Caller.Project, Key: c.Caller.Key,
		EndUser: c.EndUser, Session: c.Session, Labels: c.Labels,
	}
}

// A Target says what served a call.
type Target struct {
	Requested    string // the model that the caller asked for
	Model        string // the backend's name for it
	Backend      string
	Reason       string // why this one, in words for people
	BackendModel string // name and version as the backend says them, empty where it says nothing
	// InjectedMaxOutputTokens is the limit that the gateway set since the
	// caller set none; 0 where the caller did.
	InjectedMaxOutputTokens int
}

// A Delta is a piece of text that may be seen by the caller. One whose Tool is
// set begins a call of that tool and has no text; what follows on channel
// Arguments with the same Call is what the tool is given. One with a Signature
// has no text either.
type Delta struct {
	Candidate int
	Channel   backend.Channel
	Text      string

	Call         int // of Arguments, from 0 in each candidate
	CallID, Tool string

	// Logprobs are those of tokens of which the text is the end.
	Logprobs []backend.Logprob
	// Signature ends the part of the channel, or call, that came last. A delta
	// that has one has no text. A hidden one is a part of its own.
	Signature *backend.Signature
	// Media is a part of Content by itself. A delta that has one has no text.
	Media *backend.Media
}

// A Sink takes an answer as it is released. An error of a sink ends the call
// as one that the caller has cancelled. The gateway calls it from one
// goroutine.
type Sink interface {
	// Start comes once, before the first Delta. The answer's request id and
	// target are set.
	Start(*Answer) error
	Delta(Delta) error
	// Flush comes before the gateway waits for anything: a Delta may stay with the
	// sink until then.
	Flush() error
}

// A Restarter is a Sink that keeps its text to itself until the call has ended,
// so that it can begin again with another target's answer.
type Restarter interface {
	Sink
	// Restart forgets everything. Start comes again.
	Restart()
}

// An Answer is all of a call but its text.
type Answer struct {
	// RequestID is that of the call; of an answer that was Replayed it is that of
	// the call that had it first, and so is all that was used and found.
	RequestID string
	// Replayed tells that the answer was given before, to a call with the same
	// idempotency key, and that this call is charged nothing for it.
	Replayed bool
	// Cache is what the cache of answers had for the call, empty where it was not
	// asked; CacheAge is how old a hit is.
	Cache    CacheResult
	CacheAge time.Duration
	Target   Target
	// Attempts counts the targets that were tried.
	Attempts int
	Outcome  accounting.Outcome
	// Finish says why each candidate ended; "" where it never did.
	Finish []backend.FinishReason
	// Vectors are those of a call of Embed, in the order of its texts.
	Vectors [][]float32
	Usage   accounting.Usage
	Source  accounting.Source
	// ServiceClass is the one that the backend says has served, empty where it says
	// nothing.
	ServiceClass accounting.ServiceClass
	// OwnUsage is our own count, whoever counted Usage.
	OwnUsage accounting.Usage
	Cost     *accounting.Cost // nil where no price is known
	Verdicts []policy.Verdict
	// Excesses are what budgets let pass although they had no room for it.
	Excesses []accounting.Excess
	// Extras are what the backend's API has said that the neutral form has no place
	// for; nil where it may not pass.
	Extras backend.VendorExtras
	// Warnings are what the caller should know beside.
	Warnings []Warning
	// Hedges are what became of the hedges of the call, nil where there was none.
	Hedges []Hedge
	// UnjudgedBytes is how much text passed a remote rule that nobody had
	// judged, under a grant of that rule (on_error: open).
	UnjudgedBytes int64
	// used is how many tokens all attempts used.
	used int64
	// FirstOutput is when the first text was released, zero where none was.
	Start, FirstOutput, End time.Time
}
