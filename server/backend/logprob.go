package backend

// A Logprob is how probable a token was.
type Logprob struct {
	// Token is its text; Bytes are its bytes where those are no valid UTF-8, and
	// else nil.
	Token string
	Bytes []byte
	// Logprob is the natural logarithm of its probability.
	Logprob float64
	// Alternatives are the likeliest tokens of its place, where they were asked
	// for.
	Alternatives []Logprob
}

// Size is how many bytes of the text are the token's.
func (l *Logprob) Size() int {
	if l.Bytes != nil {
		return len(l.Bytes)
	}
	return len(l.Token)
}
