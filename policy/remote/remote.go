// Package remote holds the guards that have somebody outside judge the text: a
// guard model that is asked through Weir itself, or a moderation service. It
// knows what such judges are told, how their answers read, what an answer means
// for a rule, and what holds while a judge is away.
//
// It refuses to know connections, URLs, keys and what a question costs: it asks
// through the funcs of [Clients], which cmd wires. When to ask about which text
// is the business of package policy.
package remote

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

// Categories of findings that are no hazard.
const (
	// Unjudged is what a rule with on_error: closed finds where nobody judged.
	Unjudged = "remote/unjudged"
	// Unsafe is what a judge finds without saying what it is, or in a word that
	// we do not know.
	Unsafe = "remote/unsafe"
)

// Config is what rules may refer to.
type Config struct {
	// Model and Service tell whether there is a model or a guard service of
	// that name. Nil takes every name: for reading a policy where nothing runs.
	Model, Service func(name string) bool
	// Local are the guards that can judge where a remote one cannot (degrade).
	Local map[string]policy.Factory
}

const (
	defaultDeadline = 2 * time.Second
	maxDeadline     = 30 * time.Second
)

// onError says what holds where nobody judged.
type onError string

const (
	closed  onError = "closed"  // the segment is a finding
	open    onError = "open"    // it passes, while the grant lasts
	degrade onError = "degrade" // a local guard judges
)

// Guard is one remote rule. It is safe for concurrent use.
type Guard struct {
	kind, model, service string
	format               format
	at                   *float64
	wanted               []string // categories that count; nil is all
	deadline             time.Duration
	onError              onError
	until                time.Time
	local                policy.Guard

	kinds    []policy.Kind
	places   map[string]int
	unjudged int
	locals   int // where the kinds of the local guard begin
}

// Factory makes remote guards. A rule has these keys:
//
//	kind        guard_model or moderation
//	model       the model to ask, as callers name it (moderation: as the service does, optional)
//	format      how a guard model answers: llama_guard or qwen3guard; follows from the model's name where it tells
//	service     the moderation service, as weir.yaml names it
//	at          the least score that counts: of guard models unsafe is 1 and controversial 0.5, default 1;
//	            of a moderation service its own scores, default what it flags
//	categories  which hazards count; all where it is absent
//	deadline    how long a question may take, default 2s
//	on_error    closed (the default), open or degrade
//	until       the day on which on_error: open ends
//	degrade     the rule of a local guard, with its keys
func (c Config) Factory() policy.Factory {
	return func(node *yaml.Node, env policy.Env) (policy.Guard, error) {
		var raw struct {
			Kind       string        `yaml:"kind"`
			Model      string        `yaml:"model"`
			Format     format        `yaml:"format"`
			Service    string        `yaml:"service"`
			At         *float64      `yaml:"at"`
			Categories []string      `yaml:"categories"`
			Deadline   time.Duration `yaml:"deadline"`
			OnError    onError       `yaml:"on_error"`
			Until      time.Time     `yaml:"until"`
			Degrade    *yaml.Node    `yaml:"degrade"`
		}
		raw.Deadline, raw.OnError = defaultDeadline, closed
		ps := policy.Within("", node, policy.Decode(node, &raw))
		fault := func(field, format string, args ...any) {
			ps = append(ps, policy.Fault(node, field, format, args...))
		}
		if len(ps) > 0 {
			return nil, ps.Err()
		}
		g := &Guard{kind: raw.Kind, model: raw.Model, service: raw.Service, format: raw.Format, at: raw.At, deadline: raw.Deadline, onError: raw.OnError, until: raw.Until}
		switch raw.Kind {
		case "guard_model":
			switch {
			case raw.Model == "":
				fault("model", "is missing: which model is asked?")
			case c.Model != nil && !c.Model(raw.Model):
				fault("model", "there is no model %q: add it under models in weir.yaml, or correct the name", raw.Model)
			case g.format == "":
				if g.format = formatOf(raw.Model); g.format == "" {
					fault("format", "is missing, and the name %q does not tell it: llama_guard or qwen3guard", raw.Model)
				}
			case !slices.Contains(formats, g.format):
				fault("format", "unknown format %q: known are llama_guard and qwen3guard", g.format)
			}
			if raw.Service != "" {
				fault("service", "is for kind: moderation")
			}
		case "moderation":
			g.format = moderation
			switch {
			case raw.Service == "":
				fault("service", "is missing: which service is asked, as weir.yaml names it under guards?")
			case c.Service != nil && !c.Service(raw.Service):
				fault("service", "there is no guard service %q: add it under guards in weir.yaml, or correct the name", raw.Service)
			}
			if raw.Format != "" {
				fault("format", "is for kind: guard_model")
			}
		default:
			fault("kind", "unknown kind %q: known are guard_model and moderation", raw.Kind)
		}
		if raw.At != nil && !(*raw.At > 0 && *raw.At <= 1) {
			fault("at", "want a score above 0 and up to 1, got %v", *raw.At)
		}
		if raw.Deadline <= 0 || raw.Deadline > maxDeadline {
			fault("deadline", "want more than 0 and at most %s, got %s", maxDeadline, raw.Deadline)
		}
		switch raw.OnError {
		case closed, open, degrade:
		default:
			fault("on_error", "unknown way %q: known are closed, open and degrade", raw.OnError)
		}
		switch {
		case raw.OnError == open && raw.Until.IsZero():
			fault("until", "is missing: on_error: open lets text pass that nobody has judged, so it must end; write a date such as 2026-12-31")
		case raw.OnError != open && !raw.Until.IsZero():
			fault("until", "is for on_error: open")
		case raw.OnError == degrade && raw.Degrade == nil:
			fault("degrade", "is missing: which guard of our own judges then? Write it as {guard: lexicon, list: NAME}")
		case raw.OnError != degrade && raw.Degrade != nil:
			fault("degrade", "is for on_error: degrade")
		case raw.OnError == degrade:
			var err error
			g.local, err = c.local(raw.Degrade, env)
			ps = append(ps, policy.Within("degrade", raw.Degrade, err)...)
		}
		g.wanted = wanted(raw.Categories, fault)
		if err := ps.Err(); err != nil {
			return nil, err
		}
		g.list()
		return g, nil
	}
}

// local makes the guard of degrade.
func (c Config) local(node *yaml.Node, env policy.Env) (policy.Guard, error) {
	if node.Kind != yaml.MappingNode {
		return nil, policy.Fault(node, "", "want the rule of a guard, such as {guard: lexicon, list: NAME}")
	}
	own := *node
	own.Content = nil
	name := ""
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == "guard" {
			name = node.Content[i+1].Value
			continue
		}
		own.Content = append(own.Content, node.Content[i:i+2]...)
	}
	factory, ok := c.Local[name]
	if !ok {
		return nil, policy.Fault(node, "guard", "there is no local guard %q: known are %s", name, strings.Join(names(c.Local), ", "))
	}
	share := env.Share
	env.Share = func(key string, make func() (policy.Guard, error)) (policy.Guard, error) {
		return share(name+"\x00"+key, make)
	}
	return factory(&own, env)
}

func names(factories map[string]policy.Factory) (out []string) {
	for name := range factories {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func wanted(categories []string, fault func(field, format string, args ...any)) (out []string) {
	for i, c := range categories {
		full := c
		if !strings.Contains(c, "/") {
			full = hazardPrefix + c
		}
		if full != Unsafe && !slices.ContainsFunc(hazards, func(h hazard) bool { return hazardPrefix+h.id == full }) {
			fault(fmt.Sprintf("categories[%d]", i), "unknown category %q: known are %s", c, strings.Join(hazardIDs(), ", "))
		}
		out = append(out, full)
	}
	return out
}

// list fills what the guard can find.
func (g *Guard) list() {
	g.places = map[string]int{}
	add := func(category string) {
		if g.wanted == nil || slices.Contains(g.wanted, category) {
			g.places[category] = len(g.kinds)
			g.kinds = append(g.kinds, policy.Kind{Category: category})
		}
	}
	for _, h := range hazards {
		if h.word(g.format) != "" {
			add(hazardPrefix + h.id)
		}
	}
	add(Unsafe)
	g.unjudged = len(g.kinds)
	g.kinds = append(g.kinds, policy.Kind{Category: Unjudged})
	g.locals = len(g.kinds)
	if g.local != nil {
		g.kinds = append(g.kinds, g.local.Kinds()...)
	}
}

// Kinds are the hazards that the judge has words for, what is found where
// nobody judged, and what a local guard finds in its place.
func (g *Guard) Kinds() []policy.Kind { return g.kinds }

// Bound is what waits for the end of a segment. While a question is open, what
// arrives meanwhile waits too.
func (g *Guard) Bound() (int, bool) { return policy.SegmentBytes, true }

// Open starts the text of one channel.
func (g *Guard) Open() policy.Stream { return policy.Expecting() }

// Rule says what a judgement means: the surest label that counts is the
// finding, the first in the order of the Kinds where several are.
func (g *Guard) Rule(text string, from int, j policy.Judgement) policy.Ruling {
	if j.Failed {
		return g.withoutJudge(text, from, j.At)
	}
	var r policy.Ruling
	for _, l := range j.Labels {
		at, counts := g.places[l.Category]
		if !counts || g.kind == "guard_model" && l.Score < g.threshold() {
			continue
		}
		if !r.Found || l.Score > r.Score || l.Score == r.Score && at < r.Kind {
			r = policy.Ruling{Found: true, Kind: at, Score: l.Score}
		}
	}
	return r
}

func (g *Guard) threshold() float64 {
	if g.at == nil {
		return 1
	}
	return *g.at
}

func (g *Guard) withoutJudge(text string, from int, now time.Time) policy.Ruling {
	switch g.onError {
	case open:
		if now.Before(g.until) {
			return policy.Ruling{Unjudged: true}
		}
	case degrade:
		// The finding is the segment here too: what the rule redacts or blocks
		// must not depend on who judged.
		s := g.local.Open()
		found := s.Close(s.Scan(text, nil))
		for _, span := range found {
			if span.End > int64(from) {
				return policy.Ruling{Found: true, Kind: g.locals + span.Kind, Score: span.Score}
			}
		}
		return policy.Ruling{}
	}
	return policy.Ruling{Found: true, Kind: g.unjudged}
}
