package policy

import "go.yaml.in/yaml/v3"

// Guard recognises something in text. It is made once, by a [Factory], and
// shared by every stream: its methods must be safe for concurrent use.
type Guard interface {
	// Kinds says what a finding can be where the rule does not say it: at least
	// one, and always the same. A Span names its kind by the place in this list.
	Kinds() []Kind

	// Bound is the most bytes of one channel that a stream of this guard ever
	// keeps undecided, proved when the guard was made; false where there is no
	// such number.
	Bound() (bytes int, bounded bool)

	// Open starts the text of one channel.
	Open() Stream
}

// Kind is what a finding is: a category such as "pii/email", "" where the guard
// cannot know, and a severity.
type Kind struct {
	Category string
	Severity Severity
}

// Untrusted is a Guard that may say that it is not for what the operator of the
// calling service wrote himself: the system prompt is no attack on itself.
type Untrusted interface {
	Guard
	UntrustedOnly() bool
}

// Stream is a guard at work on the text of one channel. Offsets are bytes of
// that text, from its first byte. It is used by one goroutine.
//
// After the same text a stream is in the same state, has found the same matches
// and has decided each at the same offset, however the text was cut: this is
// what makes the output of a [Screen] the same for every chunking. A stream
// does not allocate in the steady state of Scan where nothing matches.
type Stream interface {
	// Scan reads on: text is the next part, valid UTF-8, and ends on a rune. It
	// appends to found the matches it decided, in the order in which it decided
	// them. Every maximal match (contained in no other match of the guard) must
	// be among them, whatever its kind; others may be. Ends never decrease.
	Scan(text string, found []Span) []Span

	// Close says that the text ends here, and appends what that decides.
	// Afterwards nothing is live, and only Hold, Live and Copy may be called:
	// with Copy, another text can begin.
	Close(found []Span) []Span

	// Hold is the watermark: the least offset at which a match may start that is
	// not decided yet; the end of the text read so far where there is none.
	Hold() int64

	// Live is the least offset at which a match starts that may still come or
	// grow; at most Hold. It is less where a match is decided, and so no longer
	// held, but goes on.
	Live() int64

	// Copy makes this stream continue where from stands. Both were opened by the
	// same guard.
	Copy(from Stream)
}

// Span is a match: a stretch [Start, End) of a channel's text, decided when the text up
// to At had been read (End <= At: a word border needs the next rune).
type Span struct {
	Start, End, At int64

	// Grown: a match that starts here was decided before, shorter, and goes on.
	// Its length no longer counts when placeholders are chosen, for that may
	// have happened.
	Grown bool

	// Kind is the place of what was found in the guard's Kinds. Of two kinds of
	// match at the same place a guard reports one.
	Kind int
	// Score is how sure a guard that scores is, above 0 to 1; 0 from others.
	Score float64
}

// Factory makes a guard from the keys of a rule that are its own; the common
// ones (id, guard, action, category, severity, placeholder, tool_args) are not in
// the node. Read it with [Decode] and return [Problems] with fields relative to it.
type Factory func(rule *yaml.Node, env Env) (Guard, error)

// Env is what a factory may ask while a Set is compiled. Its funcs are never
// nil and must not be called afterwards.
type Env struct {
	// Stage is that of the rule.
	Stage Stage

	// Lexicon finds a list of the policy's tenant, else of the platform.
	Lexicon func(name string) (Lexicon, bool)

	// Share returns the guard that was made under this key in the same Set, of
	// the same kind, or makes it: a large list used by many rules is compiled
	// once. The key must hold everything the guard depends on.
	Share func(key string, make func() (Guard, error)) (Guard, error)
}
