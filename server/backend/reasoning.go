package backend

// A Signature is an opaque text by which a backend knows its own words again,
// and which it wants back with them, unchanged: that of reasoning, for example,
// without which some take no reasoning back. No guard can see into it.
type Signature struct {
	// Signer is the vendor that made it, which alone can read it: the kind of the
	// backend, such as "anthropic". A driver sends no other's.
	Signer string
	Data   string
	// Hidden tells that Data is the part itself, encrypted. Then it has no text.
	Hidden bool
}

// An Effort is how much a model reasons, by its own measure. Empty is the
// model's default.
type Effort string

// The efforts.
const (
	EffortNone    Effort = "none"
	EffortMinimal Effort = "minimal"
	EffortLow     Effort = "low"
	EffortMedium  Effort = "medium"
	EffortHigh    Effort = "high"
	EffortMax     Effort = "max"
)

// Share is how much of the room for output a backend that counts reasoning in
// tokens gives an effort: from nothing to nearly all.
func (e Effort) Share() float64 {
	switch e {
	case EffortMinimal:
		return 0.1
	case EffortLow:
		return 0.2
	case EffortHigh:
		return 0.8
	case EffortMax:
		return 0.95
	case EffortNone:
		return 0
	}
	return 0.5
}

// A ReasoningWish says how much a model reasons before it answers. What it
// reasons is part of MaxOutputTokens.
type ReasoningWish struct {
	Effort Effort
	// Budget is the most tokens of it, for backends that count so; there it goes
	// before Effort. 0 sets none.
	Budget int
}
