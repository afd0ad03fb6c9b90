// Package admin takes documents of every kind (Tenant, Project, Price, FxRate,
// Budget, Policy, Lexicon), checks them together with all that is in force, tells what
// they change, and applies them in one transaction: all or nothing. It keeps
// the snapshot of what is in force on this replica. It serves no call and
// knows no wire form.
package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/auth"
)

// A Source is YAML with one or more documents. Its name, such as that of a
// file, stands in errors.
type Source struct {
	Name    string
	Content string
}

// A Result is what an Apply did, or would do.
type Result struct {
	// Revision is the store's after the change.
	Revision int64
	Changes  []AppliedChange
	// Warnings tell of documents that are kept but do not do all they say.
	Warnings []string
}

// Unchanged is the action of a document that is there already as it is; a
// Store never sees it.
const Unchanged Action = 0

// An AppliedChange is what became of one document.
type AppliedChange struct {
	Kind, Tenant, Name string
	Action             Action // Unchanged, Create or Update
	// Diff shows an update line by line.
	Diff string
}

// Admin applies documents. It is safe for concurrent use.
type Admin struct {
	Store Store
	Live  *Live
}

// An InvalidError lists all that is wrong with the documents of one Apply.
type InvalidError struct{ Violations []Violation }

// A Violation is one thing that is wrong with a document.
type Violation struct {
	Source string
	policy.Problem
}

func (v Violation) String() string {
	if v.Source == "" {
		return v.Problem.Error()
	}
	return v.Source + ": " + v.Problem.Error()
}

func (e *InvalidError) Error() string {
	switch n := len(e.Violations); n {
	case 1:
		return e.Violations[0].String()
	default:
		s := fmt.Sprintf("%d problems, nothing was applied:", n)
		for _, v := range e.Violations {
			s += "\n  " + v.String()
		}
		return s
	}
}

// A ForbiddenError says that the caller may not apply a document.
type ForbiddenError struct{ Why string }

func (e *ForbiddenError) Error() string { return e.Why }

// Apply checks the documents and makes them the truth, unless validateOnly is
// set. It returns when they are in force on this replica. It fails with
// *InvalidError or *ForbiddenError, and then nothing has changed.
func (a *Admin) Apply(ctx context.Context, by auth.Author, sources []Source, validateOnly bool) (Result, error) {
	documents, err := parse(sources)
	if err != nil {
		return Result{}, err
	}
	for _, d := range documents {
		if err := mayApply(by.Caller, d); err != nil {
			return Result{}, err
		}
	}
	for {
		result, err := a.apply(ctx, by, documents, validateOnly)
		if !errors.Is(err, ErrConflict) {
			return result, err
		}
		// Another replica was faster: look again at what is there now.
	}
}

// never names what never changes.
var never = map[string]string{kindPrice: "a price", kindFxRate: "an exchange rate"}

func (a *Admin) apply(ctx context.Context, by auth.Author, documents []parsed, validateOnly bool) (Result, error) {
	kept, base, err := a.Store.Documents(ctx)
	if err != nil {
		return Result{}, err
	}
	next := make(map[key]Document, len(kept)+len(documents))
	for _, d := range kept {
		next[keyOf(d)] = d
	}
	result := Result{Revision: base}
	var changes []Change
	var wrong []Violation
	for _, d := range documents {
		k := keyOf(d.Document)
		old, exists := next[k]
		change := AppliedChange{Kind: d.Kind, Tenant: d.Tenant, Name: d.Name, Action: Create}
		switch {
		case exists && old.Body == d.Body:
			change.Action = Unchanged
		case exists && d.appends():
			wrong = append(wrong, d.violation("effective", fmt.Sprintf("%s never changes once it is applied, and %s is there already: give the new one a later effective date", never[d.Kind], d.Name)))
			continue
		case exists:
			change.Action, change.Diff = Update, diff(old.Body, d.Body)
		}
		if change.Action != Unchanged {
			changes = append(changes, Change{Action: change.Action, Document: d.Document})
		}
		next[k] = d.Document
		result.Changes = append(result.Changes, change)
		result.Warnings = append(result.Warnings, d.warnings...)
	}
	if len(wrong) > 0 {
		return Result{}, &InvalidError{wrong}
	}
	all := make([]Document, 0, len(next))
	for _, d := range next {
		all = append(all, d)
	}
	sort.Slice(all, func(i, j int) bool { return keyOf(all[i]).less(keyOf(all[j])) })
	if _, err := build(base+1, all, documents, a.Live.Factories, a.Live.Defaults); err != nil {
		return Result{}, err
	}
	if validateOnly || len(changes) == 0 {
		return result, nil
	}
	if result.Revision, err = a.Store.Apply(ctx, base, changes, by); err != nil {
		return Result{}, err
	}
	return result, a.Live.Refresh(ctx)
}

// The errors of DeletePolicy.
var (
	ErrNoDocument = errors.New("there is no such document")
	ErrStale      = errors.New("the document has changed since it was read")
)

// DeletePolicy ends a policy and returns when it holds no more on this replica,
// with the store's revision. It fails with ErrNoDocument, and with ErrStale where
// the policy has not the revision that the caller has read; 0 is any. Who may is
// for the caller to ask.
func (a *Admin) DeletePolicy(ctx context.Context, by auth.Author, tenant, name string, revision int64) (int64, error) {
	for {
		after, err := a.deletePolicy(ctx, by, key{kindPolicy, tenant, name}, revision)
		if !errors.Is(err, ErrConflict) {
			return after, err
		}
	}
}

func (a *Admin) deletePolicy(ctx context.Context, by auth.Author, which key, revision int64) (int64, error) {
	kept, base, err := a.Store.Documents(ctx)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(kept, func(d Document) bool { return keyOf(d) == which })
	switch {
	case i < 0:
		return 0, ErrNoDocument
	case revision != 0 && kept[i].Revision != revision:
		return 0, ErrStale
	}
	gone := kept[i]
	if _, err := build(base+1, slices.Delete(kept, i, i+1), nil, a.Live.Factories, a.Live.Defaults); err != nil {
		return 0, err
	}
	after, err := a.Store.Apply(ctx, base, []Change{{Action: Delete, Document: gone}}, by)
	if err != nil {
		return 0, err
	}
	return after, a.Live.Refresh(ctx)
}

// mayApply tells whether a caller may apply a document. What a tenant's own
// admin may change can only tighten what the platform lets it do: budgets,
// prices and tenants are the platform's.
func mayApply(caller auth.Caller, d parsed) error {
	if caller.IsPlatform() {
		return nil
	}
	forbidden := func(why string) error {
		return &ForbiddenError{fmt.Sprintf("%s: a key of role %s of tenant %q may not apply kind %s %q: %s", d.at(), caller.Role, caller.Tenant, d.Kind, d.Name, why)}
	}
	if caller.Role != auth.Admin {
		return forbidden("use a key of role admin")
	}
	switch d.Kind {
	case kindPolicy, kindLexicon, kindProject:
		if d.Tenant == caller.Tenant {
			return nil
		}
		return forbidden(fmt.Sprintf("set `tenant: %s`, or use the platform's key", caller.Tenant))
	}
	return forbidden("only the platform's key may")
}
