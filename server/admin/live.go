package admin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/auth"
)

// A Snapshot is all that was in force at one revision. It is immutable and
// safe for concurrent use.
type Snapshot struct {
	Revision int64
	Prices   *price.Catalogue
	Exchange *price.Exchange
	Budgets  *lease.Book
	Policies *policy.Set

	tenants  map[string]Tenant
	projects map[key]Project
	policies []Document // by tenant and name
	keys     sync.Map   // [sha256.Size]byte -> auth.Key: those asked for at this revision
}

// PolicyDocuments lists the policies that are in force by tenant and name, the
// platform's first. The caller must not change the list.
func (s *Snapshot) PolicyDocuments() []Document { return s.policies }

// build makes a snapshot of documents, beside the prices that hold without one. What is wrong with those that fresh
// holds is told by their place in their source.
func build(revision int64, documents []Document, fresh []parsed, factories map[string]policy.Factory, defaults []price.Price) (*Snapshot, error) {
	s := &Snapshot{Revision: revision, tenants: map[string]Tenant{}, projects: map[key]Project{}}
	places := map[key]parsed{}
	for _, p := range fresh {
		places[keyOf(p.Document)] = p
	}
	var all []parsed
	for _, d := range documents {
		p, isFresh := places[keyOf(d)]
		if !isFresh {
			var err error
			if p, err = reparse(d); err != nil {
				return nil, fmt.Errorf("document %s %s/%s at revision %d: %w", d.Kind, d.Tenant, d.Name, d.Revision, err)
			}
			p.Revision = d.Revision
		}
		all = append(all, p)
	}

	prices := slices.Clone(defaults)
	var rates []price.FxRate
	currencies := map[string]bool{}
	for _, p := range defaults {
		currencies[p.Currency] = true
	}
	for _, p := range all {
		switch p.Kind {
		case kindTenant:
			s.tenants[p.Name] = Tenant{Name: p.Name, DisplayName: p.displayName, Revision: p.Revision}
		case kindProject:
			s.projects[keyOf(p.Document)] = Project{Tenant: p.Tenant, Name: p.Name, DisplayName: p.displayName, Revision: p.Revision}
		case kindPrice:
			prices = append(prices, p.price)
			currencies[p.price.Currency] = true
		case kindFxRate:
			rates = append(rates, p.fxRate)
		}
	}
	var err error
	if s.Exchange, err = price.NewExchange(rates); err != nil {
		return nil, &InvalidError{[]Violation{{Problem: policy.Problem{Message: err.Error()}}}}
	}
	var budgets []lease.Budget
	var policies []policy.Document
	var lexicons []policy.Lexicon
	var wrong []Violation
	for _, p := range all {
		if p.Tenant != "" && !s.HasTenant(p.Tenant) {
			wrong = append(wrong, p.violation("tenant", fmt.Sprintf("there is no tenant %q: apply `kind: Tenant, name: %s` before or together with this", p.Tenant, p.Tenant)))
		}
		switch p.Kind {
		case kindBudget:
			budgets = append(budgets, p.budget)
			if p.budget.Unit.IsMoney() && !s.Exchange.Meets(string(p.budget.Unit), currencies) {
				wrong = append(wrong, p.violation("limit", fmt.Sprintf("no price is in %s, and no exchange rate leads there from one, so nothing could be held against this budget: apply a Price in %s, or an FxRate to it, first", p.budget.Unit, p.budget.Unit)))
			}
			if p.budget.Project != "" && !s.HasProject(p.Tenant, p.budget.Project) {
				wrong = append(wrong, p.violation("project", fmt.Sprintf("tenant %q has no project %q: apply `kind: Project` for it", p.Tenant, p.budget.Project)))
			}
		case kindPolicy:
			policies = append(policies, p.policy)
			s.policies = append(s.policies, p.Document)
		case kindLexicon:
			lexicons = append(lexicons, p.lexicon)
		}
	}
	if s.Policies, err = policy.Compile(revision, policies, lexicons, factories); err != nil {
		wrong = append(wrong, compileViolations(err, fresh)...)
	}
	if len(wrong) > 0 {
		return nil, &InvalidError{wrong}
	}
	if s.Prices, err = price.New(prices); err != nil {
		return nil, &InvalidError{[]Violation{{Problem: policy.Problem{Message: err.Error()}}}}
	}
	if s.Budgets, err = lease.NewBook(budgets); err != nil {
		return nil, &InvalidError{[]Violation{{Problem: policy.Problem{Message: err.Error()}}}}
	}
	return s, nil
}

// compileViolations gives the problems of policies the name of their source.
// Only fresh documents can have any: what is kept has compiled before.
func compileViolations(err error, fresh []parsed) []Violation {
	source := ""
	for _, p := range fresh {
		if p.Kind == kindPolicy || p.Kind == kindLexicon {
			if source != "" && source != p.source {
				source = ""
				break
			}
			source = p.source
		}
	}
	var problems policy.Problems
	if !errors.As(err, &problems) {
		return []Violation{{source, policy.Problem{Message: err.Error()}}}
	}
	var all []Violation
	for _, p := range problems {
		all = append(all, Violation{source, p})
	}
	return all
}

func reparse(d Document) (parsed, error) {
	all, err := parse([]Source{{Content: d.Body}})
	if err != nil {
		return parsed{}, err
	}
	if len(all) != 1 || keyOf(all[0].Document) != keyOf(d) {
		return parsed{}, errors.New("the kept text is not the document that it was kept as")
	}
	return all[0], nil
}

// Live keeps the snapshot that is in force on this replica. It is safe for
// concurrent use.
type Live struct {
	Store     Store
	Keys      auth.Store
	Factories map[string]policy.Factory
	// Defaults are the prices that hold where no document has one.
	Defaults []price.Price
	Log      *slog.Logger
	// Reached, where set, is called whenever the store has answered.
	Reached func()

	refresh sync.Mutex
	current atomic.Pointer[Snapshot]
}

// Snapshot returns what is in force. It is nil before the first Refresh.
func (l *Live) Snapshot() *Snapshot { return l.current.Load() }

// Refresh reads the store where its revision has moved.
func (l *Live) Refresh(ctx context.Context) error {
	l.refresh.Lock()
	defer l.refresh.Unlock()
	revision, err := l.Store.Revision(ctx)
	if err != nil {
		return err
	}
	if l.Reached != nil {
		l.Reached()
	}
	if s := l.current.Load(); s != nil && s.Revision == revision {
		return nil
	}
	documents, revision, err := l.Store.Documents(ctx)
	if err != nil {
		return err
	}
	s, err := build(revision, documents, nil, l.Factories, l.Defaults)
	if err != nil {
		return err
	}
	l.current.Store(s)
	return nil
}

// Poll refreshes until the context ends. While the store is away the last
// snapshot stays in force.
func (l *Live) Poll(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	away := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := l.Refresh(ctx)
		switch {
		case err != nil && ctx.Err() == nil && !away:
			l.Log.ErrorContext(ctx, "cannot read the store; what was in force stays in force", "error", err)
			away = true
		case err == nil && away:
			l.Log.InfoContext(ctx, "the store is back")
			away = false
		}
	}
}

// Lookup finds a key by its hash: from memory where it was asked for at this
// revision, else from the store.
func (l *Live) Lookup(ctx context.Context, hash [sha256.Size]byte) (auth.Key, error) {
	s := l.Snapshot()
	if k, ok := s.keys.Load(hash); ok {
		return k.(auth.Key), nil
	}
	k, err := l.Keys.KeyByHash(ctx, hash)
	if err == nil {
		s.keys.Store(hash, k)
	}
	return k, err
}
