// Package outputlog keeps what calls said: one record a call, as far as the
// policies of its tenant let it be kept, for people and evaluations to read and
// rate later. The promises:
//
//   - Nothing is written that was not redacted: a Store takes [Redacted] alone,
//     and only a [Redactor] makes it.
//   - A call never waits for it and never fails by it. What cannot be kept is
//     dropped, and counted.
//   - A record holds the probability with which it was kept, so that whoever
//     estimates from records knows what each stands for.
//   - Absent is not empty: what a mode does not keep is nil.
//   - Records and ratings never change. They go when their time is over.
//
// It refuses to know what a call costs to make, how text travels and which
// database there is; guards reach it as a map of [policy.Factory].
package outputlog

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/policy"
)

// The modes of [policy.Outputs], from the one that keeps least.
const (
	ModeNone     = "none"
	ModeMetadata = "metadata" // all but what was said
	ModeRedacted = "redacted" // what the backend got and the caller was told, without personal data and secrets
	ModeFull     = "full"     // what the backend got and the caller was told, without secrets
)

// What Record.Finish says of calls that no candidate ended. The other words are
// the gateway's reasons of candidates.
const (
	FinishBudget       = "budget"
	FinishDeadline     = "deadline"
	FinishCancelled    = "cancelled"
	FinishBackendError = "backend_error"
)

// DefaultKeep is how long a record is kept where no policy says: half a year.
const DefaultKeep = 183 * 24 * time.Hour

// perMillion is the whole of policy.Outputs.Sample.
const perMillion = 1_000_000

// KeepsContent tells whether a mode keeps what was said.
func KeepsContent(mode string) bool { return mode == ModeRedacted || mode == ModeFull }

// Sampled tells whether a call is among the share, in parts per million, of
// which records are kept. The same id has the same answer everywhere, and a call
// that is in a share is in every greater one.
func Sampled(requestID string, share int64) bool {
	if share >= perMillion {
		return true
	}
	sum := sha256.Sum256([]byte(requestID))
	// The remainder favours small numbers by less than one in 10^13.
	return binary.BigEndian.Uint64(sum[:8])%perMillion < uint64(max(share, 0))
}

// Probability is that with which a call was in a share.
func Probability(share int64) float64 { return float64(min(max(share, 0), perMillion)) / perMillion }

// A Record is one call.
type Record struct {
	RequestID string // a UUIDv7
	Subject   accounting.Subject
	// Model is the name the caller asked for. Backend and BackendModel are what
	// answered, or was asked last; empty where none was.
	Model, Backend, BackendModel string

	Start time.Time
	// FirstOutput is the time to the first text that was released, 0 where none
	// was; Total that to the end.
	FirstOutput, Total time.Duration

	// Outcome is that of the last attempt; "" where none was made. Failure is the
	// reason of a call that failed, such as BUDGET_EXHAUSTED, else "".
	Outcome accounting.Outcome
	Failure string
	// Finish says why the first candidate ended, or what ended the call before;
	// "" where no word fits.
	Finish string

	Usage    accounting.Usage
	Source   accounting.Source
	Cost     *accounting.Cost // nil where no price is known
	Verdicts []policy.Verdict

	Mode        string
	Probability float64
	// Expires is when the record goes.
	Expires time.Time

	// Messages are what the backend got, and Candidates what the caller was told.
	// Nil where the mode does not keep them, or where a rule blocked them.
	Messages   []Message
	Candidates []Candidate
}

// A Message is one turn of the conversation.
type Message struct {
	Role  string `json:"role"`
	Name  string `json:"name,omitempty"`
	Parts []Part `json:"parts"`
}

// A Part is one piece of a message or a candidate. Channel is content,
// reasoning, refusal, arguments (of a call of a tool) or result (of a tool).
type Part struct {
	Channel string `json:"channel"`
	Text    string `json:"text"`
	CallID  string `json:"call_id,omitempty"`
	Tool    string `json:"tool,omitempty"`
	Failed  bool   `json:"failed,omitempty"`
	// Of media only what it is and how many bytes it has is kept, which is 0 where
	// it is an address.
	Modality string `json:"modality,omitempty"`
	Type     string `json:"type,omitempty"`
	Bytes    int64  `json:"bytes,omitempty"`
}

// A Candidate is one answer.
type Candidate struct {
	Finish string `json:"finish"`
	Parts  []Part `json:"parts"`
}

// size is how much memory the texts of a record take.
func (r *Record) size() (n int64) {
	parts := func(list []Part) {
		for _, p := range list {
			n += int64(len(p.Text))
		}
	}
	for _, m := range r.Messages {
		parts(m.Parts)
	}
	for _, c := range r.Candidates {
		parts(c.Parts)
	}
	return n
}

// A Thumb is the shortest rating.
type Thumb string

// The thumbs.
const (
	Up   Thumb = "up"
	Down Thumb = "down"
)

// A Rating is what somebody thinks of an output. An output may have many, of the
// same rater too.
type Rating struct {
	RequestID, Tenant string
	ID                string // unique among the output's
	// Project and Key are those of the key that rated; Project is empty for the
	// platform's. Rater is the person, where the caller names one.
	Project, Key, Rater string
	Made                time.Time

	Thumb Thumb    // "" where it was not given
	Score *float64 // from 0, worst, to 1; nil where it was not given
	Grade *int64   // by a scale of the rater's own; nil where it was not given
	// Comment says why, and Corrected what the answer should have been; empty
	// where they were not given.
	Comment, Corrected string
}

// An Output is a record with its ratings, oldest first.
type Output struct {
	Record  Record
	Ratings []Rating
}

// A Query asks for outputs of one tenant, newest first.
type Query struct {
	Tenant string
	// From is the first instant, To the first one after the span. The zero time
	// leaves that side open.
	From, To time.Time
	// Project, Model and Finish are empty for all.
	Project, Model, Finish string
	// Verdicts asks for calls with findings, or without; nil for both.
	Verdicts *bool
	// Limit is the most outputs to return, at least 1.
	Limit int
	// After continues behind an output; nil begins with the newest.
	After *Cursor
}

// A Cursor is the place of an output in the answer to a Query.
type Cursor struct {
	Start     time.Time
	RequestID string
}

// Cursor is the place of the output.
func (o *Output) Cursor() *Cursor { return &Cursor{o.Record.Start, o.Record.RequestID} }

// The errors of a Store.
var (
	ErrNoOutput    = errors.New("there is no such output")
	ErrRatingTaken = errors.New("the output has another rating of that id")
)

// A Store keeps outputs. Its methods are safe for concurrent use.
type Store interface {
	// WriteOutputs keeps records, all or none. One whose request id is there
	// already is left out.
	WriteOutputs(ctx context.Context, records []Redacted) error
	// Outputs answers a query. There may be more where it returns Limit of them.
	Outputs(ctx context.Context, q Query) ([]Output, error)
	// Output returns one output of a tenant. It fails with ErrNoOutput.
	Output(ctx context.Context, tenant, requestID string) (Output, error)
	// Rate keeps a rating, once for each id, and returns what is kept. It fails
	// with ErrNoOutput, and with ErrRatingTaken where the id stands for another
	// one.
	Rate(ctx context.Context, r RedactedRating) (Rating, error)
	// SweepOutputs deletes up to limit records that expire at a time or before it,
	// with their ratings, and returns how many there were.
	SweepOutputs(ctx context.Context, at time.Time, limit int) (int64, error)
}
