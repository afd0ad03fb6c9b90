package outputlog

import (
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

// Redacted is a record that may be written. Only a [Redactor] makes one that
// holds anything.
type Redacted struct{ record Record }

// Record returns what may be written.
func (r Redacted) Record() Record { return r.record }

// RedactedRating is a rating that may be written.
type RedactedRating struct{ rating Rating }

// Rating returns what may be written.
func (r RedactedRating) Rating() Rating { return r.rating }

// A Redactor takes out of records what their mode does not keep. It is safe for
// concurrent use.
type Redactor struct {
	secrets *policy.Effective
	persons *policy.Effective // secrets and personal data
}

// redactions are the rules of a mode beyond those of the tenant, which were
// applied before the text came here.
const redactions = `kind: Policy
name: output-log
safety:
  input:
    - {id: secrets, guard: secrets, action: redact}
`

const personal = `    - {id: pii, guard: pii, action: redact}
`

// NewRedactor makes a redactor of the guards secrets and pii. It fails where
// one of them is not among the factories.
func NewRedactor(factories map[string]policy.Factory) (*Redactor, error) {
	secrets, err := compile(redactions, factories)
	if err != nil {
		return nil, err
	}
	persons, err := compile(redactions+personal, factories)
	if err != nil {
		return nil, err
	}
	return &Redactor{secrets: secrets, persons: persons}, nil
}

func compile(text string, factories map[string]policy.Factory) (*policy.Effective, error) {
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		return nil, fmt.Errorf("the output log's own rules: %w", err)
	}
	document, err := policy.ParseDocument(root.Content[0])
	if err != nil {
		return nil, fmt.Errorf("the output log's own rules: %w", err)
	}
	set, err := policy.Compile(0, []policy.Document{document}, nil, factories)
	if err != nil {
		return nil, fmt.Errorf("the output log's own rules: %w", err)
	}
	return set.Resolve(policy.Subject{}), nil
}

// Redact returns what the record's mode keeps of it; false where that is
// nothing. The record is not changed.
func (r *Redactor) Redact(record Record) (Redacted, bool) {
	rules := r.secrets
	switch record.Mode {
	case ModeMetadata:
		record.Messages, record.Candidates = nil, nil
	case ModeRedacted:
		rules = r.persons
	case ModeFull:
	default:
		return Redacted{}, false
	}
	// What reports group by is kept as it is, but for secrets.
	names := redaction{rules: r.secrets}
	names.text(&record.Subject.EndUser)
	names.text(&record.Subject.Session)
	record.Subject.Labels = names.labels(record.Subject.Labels)
	if !names.run() {
		record.Subject.EndUser, record.Subject.Session, record.Subject.Labels = "", "", nil
	}
	said := redaction{rules: rules}
	record.Messages = slices.Clone(record.Messages)
	for i := range record.Messages {
		m := &record.Messages[i]
		said.text(&m.Name)
		m.Parts = said.parts(m.Parts)
	}
	record.Candidates = slices.Clone(record.Candidates)
	for i := range record.Candidates {
		c := &record.Candidates[i]
		c.Parts = said.parts(c.Parts)
	}
	if !said.run() {
		record.Messages, record.Candidates = nil, nil
	}
	return Redacted{record}, true
}

// RedactRating takes secrets out of a rating, and personal data too unless the
// rated output's mode keeps them.
func (r *Redactor) RedactRating(rating Rating, mode string) RedactedRating {
	said := redaction{rules: r.persons}
	if mode == ModeFull {
		said.rules = r.secrets
	}
	said.text(&rating.Comment)
	said.text(&rating.Corrected)
	if !said.run() {
		rating.Comment, rating.Corrected = "", ""
	}
	return RedactedRating{rating}
}

// redaction gathers texts and puts what the rules leave of them in their places.
type redaction struct {
	rules *policy.Effective
	texts []policy.InputText
	slots []func(string)
}

func (r *redaction) add(text string, json bool, to func(string)) {
	if text != "" {
		r.texts = append(r.texts, policy.InputText{Text: text, JSON: json})
		r.slots = append(r.slots, to)
	}
}

func (r *redaction) text(s *string) { r.add(*s, false, func(clean string) { *s = clean }) }

func (r *redaction) parts(list []Part) []Part {
	list = slices.Clone(list)
	for i := range list {
		p := &list[i]
		r.add(p.Text, p.Channel == "arguments", func(clean string) { p.Text = clean })
		r.text(&p.Tool)
		r.text(&p.CallID)
	}
	return list
}

func (r *redaction) labels(labels map[string]string) map[string]string {
	labels = maps.Clone(labels)
	for k, v := range labels {
		r.add(v, false, func(clean string) { labels[k] = clean })
	}
	return labels
}

// run tells whether the texts may be kept. They may not where a rule could not
// put a placeholder into one.
func (r *redaction) run() bool {
	judged := r.rules.JudgeInput(r.texts)
	if judged.Blocked {
		return false
	}
	for i, to := range r.slots {
		to(judged.Texts[i])
	}
	return true
}
