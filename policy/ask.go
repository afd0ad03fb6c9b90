package policy

import (
	"slices"
	"sync/atomic"
	"time"
)

// Asked is a Guard that cannot judge a text itself: somebody outside has to be
// asked, a model or a service. It says what an answer means and asks nobody: a
// [Gate] and an [Inquiry] tell which questions there are, and whoever drives
// them finds the answers.
//
// Its streams must come from [Expecting].
type Asked interface {
	Guard
	// Rule says what the answer about a segment means. The segment is
	// text[from:]; what stands before it is context that was judged before. The
	// same arguments always give the same ruling.
	Rule(text string, from int, j Judgement) Ruling
}

// Judgement is what came of a question.
type Judgement struct {
	// Labels are what was found, none where the text is good.
	Labels []Label
	// Failed tells that nobody judged: an error, a deadline, an answer that
	// makes no sense. Labels then say nothing.
	Failed bool
	// Cause is why it failed, for the operator's log: nil where nobody was asked,
	// since the judge has failed so often that it is left alone for a while. It
	// holds nothing of the text.
	Cause error
	// At is when; a guard needs it where a grant expires.
	At time.Time
}

// Label is one thing that a judge found, in the words of the guard's Kinds.
type Label struct {
	Category string
	Score    float64 // how sure the judge is, above 0 to 1
}

// Ruling is what a judgement means for its segment.
type Ruling struct {
	// Found makes the whole segment a match, of a Kind of the guard.
	Found bool
	Kind  int
	Score float64
	// Unjudged tells that the segment passes though nobody has judged it.
	Unjudged bool
}

// Question is a segment of text that a judge is to be asked about.
type Question struct {
	// ID is unique within the Gate or the Inquiry that asks.
	ID           int64
	Guard        Asked
	Policy, Rule string
	Stage        Stage
	// Text is the segment with up to [ContextBytes] of its channel before it.
	// What a rule of our own redacts is a placeholder in it already, so it is
	// not told to a service either; only a match that goes past the end of the
	// segment is not seen.
	Text string
	// Prompt is the end of what the caller asked the model, output stage only.
	Prompt string
}

// The sizes of what is judged from outside.
const (
	// SegmentBytes is the most bytes of a channel of an answer that wait for the
	// end of their sentence.
	SegmentBytes = 1024
	// ContextBytes is how much of the text before a segment is shown with it.
	ContextBytes = 256
	// InFlight is how many questions of one Gate or Inquiry are open at a time:
	// so many that text waits for, and as many of rules that hold nothing.
	InFlight = 8

	// leastSegment joins what is too short to mean anything alone, such as the
	// number of a list and the sentence behind it.
	leastSegment = 16
	// inputSegment and leastInput are for texts that are there whole: nobody
	// waits for their first sentence, so they are cut only where they are long.
	inputSegment = 4096
	leastInput   = 2048
	// promptBytes bounds Question.Prompt.
	promptBytes = 1024
	// gateBytes is how much text may wait for answers before no more is wanted.
	gateBytes = 64 << 10
)

// Asks tells whether a rule of the stage has to ask somebody.
func (e *Effective) Asks(stage Stage) bool {
	rules := e.input
	if stage == Output {
		rules = e.output
	}
	return slices.ContainsFunc(rules, (*rule).asks)
}

// Holds tells whether an output rule that asks somebody can change the answer:
// then a string that was not asked about does not pass.
func (e *Effective) Holds() bool {
	return slices.ContainsFunc(e.output, func(r *rule) bool { return r.asks() && r.action.Enforcing() })
}

// Enforces tells whether any rule of a stage can change a text.
func (e *Effective) Enforces(stage Stage) bool {
	rules := e.input
	if stage == Output {
		rules = e.output
	}
	return slices.ContainsFunc(rules, func(r *rule) bool { return r.action.Enforcing() })
}

// Local is what holds without the rules that have to ask somebody. It is what
// the question itself is judged by, so that no question leads to another.
func (e *Effective) Local() *Effective {
	if !e.Asks(Input) && !e.Asks(Output) {
		return e
	}
	local := *e
	local.clean = &atomic.Pointer[string]{}
	local.input, local.trusted, local.output = ownRules(e.input), ownRules(e.trusted), ownRules(e.output)
	return &local
}

func ownRules(rules []*rule) []*rule {
	return slices.DeleteFunc(slices.Clone(rules), (*rule).asks)
}

func (r *rule) asks() bool {
	_, asks := r.guard.(Asked)
	return asks
}

// masks are the rules whose matches are not shown to a judge.
func masks(rules []*rule) []*rule {
	return slices.DeleteFunc(slices.Clone(rules), func(r *rule) bool { return r.asks() || r.action != Redact })
}

func masked(rules []*rule, text string) string {
	if len(rules) == 0 {
		return text
	}
	s := newScreen(rules)
	pieces := s.Write(nil, Piece{Channel: Content, Text: text})
	return join(s.End(pieces, 0))
}
