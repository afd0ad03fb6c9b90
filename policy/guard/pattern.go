package guard

import (
	"fmt"
	"regexp/syntax"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

// Pattern makes a guard that finds a regular expression, in the syntax of Go's
// package regexp. Its keys:
//
//	expr: 'sk-[A-Za-z0-9]{20,48}'  # or
//	builtin: email                 # one of ours
//	max_length: 256                # bytes
//
// Every stretch that the expression matches is a match, not only the leftmost
// ones: `\d{3}` finds 123 and 234 in 1234. Borders (\b, ^, $) look at the text
// around a stretch; ^ and $ are the ends of the channel's text unless the
// expression says (?m).
//
// What is undecided is held back, so the longest match must be known. An
// expression that repeats without end is refused unless max_length bounds it:
// a stretch of max_length bytes that is a match, or could become one, is then a
// match as it stands, and goes on for as long as it could become a longer one.
// So a run longer than anybody thought of is redacted to its end and never
// leaks, and an overlong beginning that comes to nothing is redacted too: choose
// max_length well above what real text has. An expression that can match
// nothing at all (a*) is refused, and so is one that never matches.
func Pattern(rule *yaml.Node, env policy.Env) (policy.Guard, error) {
	var raw struct {
		Expr      *string `yaml:"expr"`
		Builtin   *string `yaml:"builtin"`
		MaxLength *int    `yaml:"max_length"`
	}
	if err := policy.Decode(rule, &raw); err != nil {
		return nil, err
	}
	switch {
	case raw.Expr == nil && raw.Builtin == nil:
		return nil, policy.Fault(rule, "expr", "no expression: give expr, or builtin (known: email)")
	case raw.Expr != nil && raw.Builtin != nil:
		return nil, policy.Fault(rule, "builtin", "is an expression of its own: remove it or expr")
	}
	var p pattern
	field, expr, limit := "expr", "", 0
	if raw.Builtin != nil {
		if *raw.Builtin != "email" {
			return nil, policy.Fault(rule, "builtin", "unknown expression %q (known: email)", *raw.Builtin)
		}
		field, expr, limit = "builtin", emailExpr, emailLimit
		p.category, p.severity = "pii/email", policy.Medium
	} else {
		expr = *raw.Expr
	}
	if raw.MaxLength != nil {
		limit = *raw.MaxLength
		if limit < 1 || limit > maxPattern {
			return nil, policy.Fault(rule, "max_length", "want from 1 to %d bytes, got %d", maxPattern, limit)
		}
	}
	return env.Share(fmt.Sprintf("%s %d %s", field, limit, expr), func() (policy.Guard, error) {
		if err := p.compile(expr, limit); err != nil {
			return nil, policy.Fault(rule, field, "%v", err)
		}
		return &p, nil
	})
}

// maxPattern bounds what a rule may hold back, in bytes.
const maxPattern = 1 << 16

// An address of e-mail, after RFC 5321 as people use it: a local part of up to
// 64 bytes without quotes, and a domain of letters, digits and hyphens that has
// a dot and ends in letters. There is no border before it, so an address in the
// middle of Chinese text is found; of a longer local part, the last 64 bytes.
// emailLimit is 64 + @ + a domain of 255: one that goes on longer is redacted to
// its end.
const (
	emailExpr  = `[A-Za-z0-9._%+'&~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}`
	emailLimit = 64 + 1 + 255
)

// pattern is a compiled expression.
type pattern struct {
	program *program
	lead    lead
	limit   int // of max_length; 0 where no match can be longer
	bound   int

	category string
	severity policy.Severity
}

func (p *pattern) compile(expr string, limit int) error {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return fmt.Errorf("not a regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	least, most := lengths(re)
	if least == 0 {
		return fmt.Errorf("the expression can match without any text, so it would match everywhere: make a part of it mandatory")
	}
	switch {
	case most != unbounded && most <= maxPattern && (limit == 0 || most <= limit):
		p.limit = 0
	case limit == 0:
		return fmt.Errorf("the expression has no longest match that could be held back: bound its repetitions, such as {1,64}, or give max_length (in bytes)")
	case limit < least:
		return fmt.Errorf("max_length %d is less than the %d bytes of its shortest match", limit, least)
	default:
		p.limit = limit
	}
	rest := p.lead.cut(re)
	if p.lead.most > 0 && (p.limit == 0 || p.lead.most < p.limit) {
		if p.program, err = compile(rest); err != nil {
			return err
		}
		if !p.program.plainStart() {
			p.lead = lead{}
		}
	} else {
		p.lead = lead{}
	}
	if p.lead.most == 0 {
		if p.program, err = compile(re); err != nil {
			return err
		}
	}
	if len(p.program.start) == 0 {
		return fmt.Errorf("the expression can never match")
	}
	if p.limit != 0 {
		p.bound = p.limit - 1
	} else if p.bound = most; len(p.program.gates) == 0 {
		p.bound = most - 1
	}
	return nil
}

func (p *pattern) Kinds() []policy.Kind {
	return []policy.Kind{{Category: p.category, Severity: p.severity}}
}

// Bound is the longest match less a byte; with it where a border can follow,
// for that takes the next rune to decide; max_length less a byte where that is
// the bound.
func (p *pattern) Bound() (int, bool) { return p.bound, true }

func (p *pattern) Open() policy.Stream { return newPatternStream(p) }

// lead is how many expressions begin: one class of ASCII runes, repeated (the
// local part of an address). Every byte of a word starts such a match, which
// makes a thread a byte; but all of them end up at the same state, and there the
// earliest start is all that counts. So a length of the run stands for them.
type lead struct {
	class       [256]bool
	least, most int // repetitions; most is 0 where there is no lead
}

// cut takes the lead off an expression and returns the rest.
func (l *lead) cut(re *syntax.Regexp) *syntax.Regexp {
	*l = lead{}
	if re.Op != syntax.OpConcat || re.Sub[0].Op != syntax.OpRepeat {
		return nil
	}
	repeat := re.Sub[0]
	one := repeat.Sub[0]
	if one.Op != syntax.OpCharClass || len(one.Rune) == 0 || repeat.Min < 1 || repeat.Max < 1 {
		return nil
	}
	if last := one.Rune[len(one.Rune)-1]; last >= 0x80 {
		return nil // a byte must be a rune
	}
	rest := &syntax.Regexp{Op: syntax.OpConcat, Flags: re.Flags, Sub: re.Sub[1:]}
	if least, _ := lengths(rest); least == 0 {
		return nil
	}
	for i := 0; i < len(one.Rune); i += 2 {
		for r := one.Rune[i]; r <= one.Rune[i+1]; r++ {
			l.class[r] = true
		}
	}
	l.least, l.most = repeat.Min, repeat.Max
	return rest
}

// plainStart tells whether a match starts whatever is before it.
func (p *program) plainStart() bool {
	for _, e := range p.start {
		if e.need != 0 {
			return false
		}
	}
	return len(p.start) > 0
}
