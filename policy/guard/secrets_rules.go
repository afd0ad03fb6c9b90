package guard

import (
	"fmt"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// secretRule is one way in which a kind of secret is written.
//
// A token's form is an expression of a small sort: literal text first, which is
// its opening, then classes of ASCII characters with counts, each of which must
// end where the next begins, so that it can be read without going back. A group
// that goes to the end of the form is what is found; without one it is all.
// {n,} is a run without a longest form.
//
// A named secret is a value of some form that is assigned to a name.
type secretRule struct {
	kind string
	id   int // place in the guard's kinds

	form  string
	names []string // of a named secret; they are found in either case

	// What may not stand before the opening, and behind the secret, besides what
	// the form itself would take.
	notAfter, notBefore neighbours
	// checked says that valid is proof enough wherever the secret stands, so that
	// nothing need be known of what is behind it.
	checked bool
	valid   func(secret string) bool

	reader  reader
	parts   []part   // of the form
	from    int      // the first part that is found
	tail    asciiSet // what a secret goes on with; of a named one, all it is made of
	longest int      // bytes that are held at most
}

// reader says how a rule is read behind its opening.
type reader uint8

const (
	tokenReader reader = iota
	namedReader
	urlReader
	jwtReader
	pemReader
)

// maxSecret is how long a secret without a longest form is held, in bytes, before
// it counts as one as it stands. Anything longer goes on to its end.
const maxSecret = 256

const besideWord = digit | letter | underline

// part is a class of characters and how many of them.
type part struct {
	set         asciiSet
	least, most int // most is 0 where there is no end
}

type asciiSet [2]uint64

func (s *asciiSet) has(r rune) bool {
	return uint32(r) < utf8.RuneSelf && s[r>>6]&(1<<(r&63)) != 0
}

func (s *asciiSet) add(lo, hi rune) {
	for r := lo; r <= min(hi, utf8.RuneSelf-1); r++ {
		s[r>>6] |= 1 << (r & 63)
	}
}

func (s asciiSet) meets(o asciiSet) bool { return s[0]&o[0]|s[1]&o[1] != 0 }

// literal is text that opens a rule. What is found begins at an offset in it, or
// behind it where the offset is its length.
type literal struct {
	text  string
	exact bool // its letters are in this case
	from  int
	rule  int
	// notAfter is the rule's, so that what cannot open it is not held.
	notAfter neighbours
}

// prepare reads the form and returns the openings of the rule.
func (r *secretRule) prepare() ([]literal, error) {
	switch r.reader {
	case urlReader:
		r.longest = maxSecret
		return []literal{{text: "://", from: 3}}, nil
	case jwtReader:
		r.longest = maxHeader + minPayload
		return []literal{{text: "eyJ", exact: true, notAfter: r.notAfter}}, nil
	case pemReader:
		r.longest = maxLabel + len("-----BEGIN ")
		return []literal{{text: "-----BEGIN ", exact: true}, {text: "---- BEGIN ", exact: true, notAfter: dash}}, nil
	}
	open, err := r.read()
	if err != nil {
		return nil, err
	}
	for _, p := range r.parts[r.from:] {
		if p.most == 0 {
			if r.longest+p.least+len(open.text) > maxSecret {
				return nil, fmt.Errorf("the form %q has at least %d characters, more than the %d that are held", r.form, r.longest+p.least, maxSecret)
			}
			r.longest = maxSecret
			break
		}
		r.longest += p.most
	}
	if r.reader == tokenReader {
		if open.text == "" {
			return nil, fmt.Errorf("the form %q does not begin with literal text", r.form)
		}
		r.longest += len(open.text) - open.from
		open.notAfter = r.notAfter
		return []literal{open}, nil
	}
	var all []literal
	for _, name := range r.names {
		all = append(all, literal{text: name, from: len(name)})
	}
	return all, nil
}

// read takes the form apart.
func (r *secretRule) read() (open literal, err error) {
	re, err := syntax.Parse(r.form, syntax.Perl)
	if err != nil {
		return open, err
	}
	open.exact = true
	open.from = -1
	var walk func(re *syntax.Regexp) error
	walk = func(re *syntax.Regexp) error {
		switch re.Op {
		case syntax.OpConcat:
			for _, sub := range re.Sub {
				if err := walk(sub); err != nil {
					return err
				}
			}
			return nil
		case syntax.OpCapture:
			open.from, r.from = len(open.text), len(r.parts)
			return walk(re.Sub[0])
		case syntax.OpLiteral:
			for _, l := range re.Rune {
				folded := re.Flags&syntax.FoldCase != 0
				if len(r.parts) == 0 && r.reader == tokenReader {
					open.text += string(l)
					open.exact = open.exact && !folded
					continue
				}
				var p part
				p.set.add(l, l)
				p.least, p.most = 1, 1
				r.parts = append(r.parts, p)
			}
			return nil
		}
		p := part{least: 1, most: 1}
		switch re.Op {
		case syntax.OpRepeat:
			p.least, p.most = re.Min, max(re.Max, 0)
			re = re.Sub[0]
		case syntax.OpPlus:
			p.most = 0
			re = re.Sub[0]
		case syntax.OpQuest:
			p.least = 0
			re = re.Sub[0]
		}
		switch {
		case re.Op == syntax.OpCharClass:
			for i := 0; i < len(re.Rune); i += 2 {
				p.set.add(re.Rune[i], re.Rune[i+1])
			}
		case re.Op == syntax.OpLiteral && len(re.Rune) == 1:
			p.set.add(re.Rune[0], re.Rune[0])
		default:
			return fmt.Errorf("the form %q has %s, which cannot be read without going back", r.form, re)
		}
		r.parts = append(r.parts, p)
		return nil
	}
	if err := walk(re); err != nil {
		return open, err
	}
	if open.from < 0 {
		open.from = 0
	}
	if len(r.parts) == 0 {
		return open, fmt.Errorf("the form %q is only literal text", r.form)
	}
	for i, p := range r.parts[:len(r.parts)-1] {
		// What a part may take more of, or leave out, must not be what can follow.
		for j := i + 1; j < len(r.parts) && p.least != p.most; j++ {
			if p.set.meets(r.parts[j].set) {
				return open, fmt.Errorf("the form %q: it cannot be told where part %d ends", r.form, i+1)
			}
			if r.parts[j].least > 0 {
				break
			}
		}
	}
	for i, p := range r.parts {
		if p.most == 0 && i < len(r.parts)-1 {
			return open, fmt.Errorf("the form %q: only its last part may have no end", r.form)
		}
		if r.reader == namedReader || i == len(r.parts)-1 {
			r.tail[0] |= p.set[0]
			r.tail[1] |= p.set[1]
		}
	}
	open.text = strings.ToValidUTF8(open.text, "")
	return open, nil
}

// matches tells whether all of a text has the form.
func (r *secretRule) matches(text string) bool {
	at := 0
	for _, p := range r.parts {
		n := 0
		for at < len(text) && (p.most == 0 || n < p.most) && p.set.has(rune(text[at])) {
			at++
			n++
		}
		if n < p.least {
			return false
		}
	}
	return at == len(text)
}
