package guard

import (
	"fmt"
	"slices"
	"sync"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

// Injection makes a guard that scores how much a text looks like an attempt to
// turn a model against whoever runs it. Its keys:
//
//	at: 0.5                    # the score from which on a text is a finding
//	canaries: [weir-c4n4ry-7]  # marks of a system prompt that no answer may hold
//
// The score comes from families of phrases in English and Chinese, the plainest
// of them in some further languages; from markers of chat templates, writing
// that nobody sees, encoded instructions, trigger phrases whose letters are
// replaced or set apart, and addresses that carry data away. Each has a weight,
// how often a text with it is an attack, and what was seen in the last 4 KiB of
// the channel counts together as if it were independent: one minus the product
// of one minus each weight (noisy or). By default one strong signal is enough,
// or two fair ones; see the weights.
//
// It is a score and not a wall. A text that asks for something forbidden
// without any of this passes, so does a wording that nobody thought of, and
// some harmless texts do not pass. It belongs beside rules that limit what an
// answer may hold and what tools may do.
//
// A text is judged segment by segment: a segment ends behind a line, a sentence
// with the white space that follows, or 512 bytes, and is held until then. A
// finding is the segment with which the score reached the threshold, and each
// later one that holds a signal while it is reached. Its kind is that of the
// segment's strongest signal. What the operator of the calling service wrote
// himself is not judged on input. Canaries are found to the letter.
func Injection(rule *yaml.Node, env policy.Env) (policy.Guard, error) {
	raw := struct {
		At       float64  `yaml:"at"`
		Canaries []string `yaml:"canaries"`
	}{At: defaultAt}
	if err := policy.Decode(rule, &raw); err != nil {
		return nil, err
	}
	if !(raw.At > 0 && raw.At <= 1) {
		return nil, policy.Fault(rule, "at", "want a number above 0 and up to 1, got %v", raw.At)
	}
	for i, c := range raw.Canaries {
		if len(c) < 8 || len(c) > policy.MaxTerm {
			return nil, policy.Fault(rule, fmt.Sprintf("canaries[%d]", i), "want from 8 to %d bytes, got %d: a short one is found where nobody meant it", policy.MaxTerm, len(c))
		}
	}
	return env.Share(fmt.Sprintf("%v %q", raw.At, raw.Canaries), func() (policy.Guard, error) {
		parts := []policy.Guard{&injection{at: raw.At, books: phraseBooks()}}
		if len(raw.Canaries) > 0 {
			marks := policy.Lexicon{Category: "injection/canary", Severity: policy.High}
			for _, c := range raw.Canaries {
				marks.Terms = append(marks.Terms, policy.Term{Text: c})
			}
			parts = append(parts, newLexicons(nil, marks, []string{"raw"}, true, false))
		}
		return untrusted{newUnion(parts...)}, nil
	})
}

// untrusted is a guard that is not for what the operator wrote himself.
type untrusted struct{ policy.Guard }

func (untrusted) UntrustedOnly() bool { return true }

// The kinds of findings: what the strongest signal of the segment was.
const (
	injectionPrompt = iota
	injectionMarkers
	injectionHidden
	injectionEncoded
	injectionExfiltration
)

var injectionKinds = []policy.Kind{
	{Category: "injection/prompt", Severity: policy.Medium},
	{Category: "injection/markers", Severity: policy.High},
	{Category: "injection/hidden_text", Severity: policy.High},
	{Category: "injection/encoded", Severity: policy.High},
	{Category: "injection/exfiltration", Severity: policy.High},
}

// signal is one thing that adds to the score.
type signal struct {
	weight  float64
	kind    int
	greater signalSet // where one of these is seen, this one says nothing more
}

// signalSet is a set of signals by their bits: families by their place, the
// others from the top.
type signalSet uint64

const (
	signalTemplate  = 63 - iota // a marker that only chat templates have
	signalRole                  // one that also other writing has
	signalHidden                // text that nobody sees
	signalStrewn                // text that is shown otherwise than it is read
	signalEncoded               // what is encoded says something that adds up
	signalDisguised             // a family in letters set apart or replaced
	signalImage                 // an image whose address carries something away
	signalLink                  // a link that does, which somebody must follow
)

// signals are all, by their bit.
var signals = func() (s [64]signal) {
	for i, f := range families {
		s[i] = signal{weight: f.weight, kind: f.kind}
		if f.lesser {
			s[i].greater = s[i-1].greater | 1<<(i-1)
		}
	}
	s[signalTemplate] = signal{weight: strong, kind: injectionMarkers}
	s[signalRole] = signal{weight: fair, kind: injectionMarkers}
	s[signalHidden] = signal{weight: strong, kind: injectionHidden}
	s[signalStrewn] = signal{weight: probable, kind: injectionHidden}
	s[signalEncoded] = signal{weight: strong, kind: injectionEncoded}
	s[signalDisguised] = signal{weight: strong, kind: injectionPrompt}
	s[signalImage] = signal{weight: strong, kind: injectionExfiltration}
	s[signalLink] = signal{weight: probable, kind: injectionExfiltration}
	return s
}()

// phrases are the books that a text is read by: as it stands, and for letters
// that are replaced or set apart.
type phrases struct{ plain, loose *book }

var phraseBooks = sync.OnceValue(func() phrases {
	ideas := slices.Concat(english, chinese, tongues)
	return phrases{newBook(ideas, families, false), newBook(ideas, families, true)}
})

const (
	// maxSegment bounds what is judged at once, and so what is held, in bytes.
	maxSegment = 512
	// memory is how many bytes back a signal counts. Without an end every long
	// text would have everything once.
	memory = 4096
)

type injection struct {
	at    float64
	books phrases
}

func (g *injection) Kinds() []policy.Kind { return injectionKinds }

// Bound is the longest segment, and the rune that makes it too long.
func (g *injection) Bound() (int, bool) { return maxSegment + utf8.UTFMax, true }

func (g *injection) Open() policy.Stream {
	s := &injectionStream{
		injection: g,
		text:      make([]byte, 0, maxSegment+utf8.UTFMax),
		plain:     newReading(g.books.plain),
	}
	s.payload.open(g.books)
	for i := range s.seen {
		s.seen[i] = longAgo
	}
	return s
}

// longAgo is a place from which nothing counts any more.
const longAgo = -1 << 62
