// Package policy decides what a call may say and hear.
//
// It turns policy documents into an immutable [Set], tells which of them hold
// for a caller and a model ([Set.Resolve]), judges what is sent
// ([Effective.JudgeInput]) and screens what streams back ([Screen]): text is
// released exactly when it can no longer be part of a violation.
//
// It is a pure engine. It refuses to know where documents are kept, what a call
// costs, how text travels (no wire type, no vendor) and what time it is; it
// opens no file and no connection, starts no goroutine, and imports nothing of
// ours. Guards reach it as a map of [Factory]; the ones that ship are in
// policy/guard.
package policy

import (
	"fmt"
	"strings"
)

// Subject says for whom, and for which model, policies are resolved. The
// gateway fills it from the authenticated caller; nothing here is taken from
// the text of a request.
type Subject struct {
	Tenant, Project, Key, Model, EndUser, Session string

	Labels map[string]string
}

// Stage tells whether a rule looks at what a caller sends or at what a model
// answers.
type Stage uint8

const (
	Input Stage = iota
	Output
)

func (s Stage) String() string {
	if s == Output {
		return "output"
	}
	return "input"
}

// Action is what a rule does with a finding. Actions are ordered: where
// findings overlap, the greater one decides.
type Action uint8

const (
	Allow  Action = iota // no rule says this; it is the absence of an action
	Shadow               // decides and records, changes nothing and delays nothing
	Flag                 // like Shadow, but meant to be acted upon by whoever reads the verdict
	Redact               // the matched text is replaced by a placeholder
	Block                // the candidate (or the call, on input) ends
)

var actionNames = []string{"allow", "shadow", "flag", "redact", "block"}

func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// Enforcing tells whether the action can change the text, and so must hold it
// back until it is judged.
func (a Action) Enforcing() bool { return a >= Redact }

// UnmarshalText reads an action of a rule: shadow, flag, redact or block.
func (a *Action) UnmarshalText(text []byte) error {
	for i := Shadow; i <= Block; i++ {
		if string(text) == actionNames[i] {
			*a = i
			return nil
		}
	}
	return fmt.Errorf("unknown action %q%s", text, suggest(string(text), actionNames[Shadow:]))
}

// Severity grades a finding. Unspecified means that nobody graded it, which is
// not the same as harmless.
type Severity uint8

const (
	Unspecified Severity = iota
	Low
	Medium
	High
)

var severityNames = []string{"unspecified", "low", "medium", "high"}

func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return fmt.Sprintf("severity(%d)", uint8(s))
}

// UnmarshalText reads low, medium or high.
func (s *Severity) UnmarshalText(text []byte) error {
	for i := Low; i <= High; i++ {
		if string(text) == severityNames[i] {
			*s = i
			return nil
		}
	}
	return fmt.Errorf("unknown severity %q%s", text, suggest(string(text), severityNames[Low:]))
}

// Channel names one stream of text of a candidate. Text of one channel is one
// text to the guards, however it is cut and whatever arrives in between.
type Channel string

const (
	Content   Channel = "content"
	Reasoning Channel = "reasoning"
	Refusal   Channel = "refusal"
)

// Verdict is one finding of one rule. It says where, never what: the matched
// text is in no field, so a verdict can be logged wherever the call can.
type Verdict struct {
	Guard  string // the kind of guard, such as "lexicon"
	Rule   string // id of the rule within its policy
	Policy string // name of the policy; "tenant/name" where it belongs to a tenant

	Revision int64 // of the Set that judged
	Category string
	Severity Severity
	Score    *float64 // nil where the guard does not score
	Action   Action
	Stage    Stage

	Candidate     int // output stage, else 0
	Message, Part int // input stage, else -1
	Channel       Channel

	// Start and End are byte offsets [Start, End) into the text of the channel
	// (input: of the part) as it was judged: after every invalid byte of UTF-8
	// became U+FFFD, before anything was redacted.
	Start, End int64

	// More is how many further findings of this rule on this channel are counted
	// but not listed, because there are so many; on the last that is listed.
	More int64
}

// suggest ends a message about an unknown word: the nearest known one, and all
// of them.
func suggest(word string, known []string) string {
	var b strings.Builder
	if near := nearest(word, known); near != "" {
		fmt.Fprintf(&b, ", did you mean %q?", near)
	}
	fmt.Fprintf(&b, " (known: %s)", strings.Join(known, ", "))
	return b.String()
}

// nearest returns the known word within two edits of word (one, where the word
// is short), or "".
func nearest(word string, known []string) string {
	best, bestAt := "", 3
	if len(word) < 4 {
		bestAt = 2
	}
	for _, k := range known {
		if d := edits(word, k); d < bestAt {
			best, bestAt = k, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}
