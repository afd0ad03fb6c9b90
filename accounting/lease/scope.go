package lease

import (
	"regexp"
	"strings"

	"github.com/weir-gateway/weir/accounting"
)

// A Scope says whose use one window of a budget counts together.
type Scope string

// The scopes, beside those that PerLabel makes. A budget per end user, session
// or label does not apply to calls that name none. One per call has no window:
// it bounds what each call may come to.
const (
	PerTenant  Scope = "tenant"
	PerProject Scope = "project"
	PerKey     Scope = "key"
	PerModel   Scope = "model" // by the callers' name of it
	PerEndUser Scope = "end_user"
	PerSession Scope = "session"
	PerCall    Scope = "call"
)

const labelScope = "label:"

var labelKey = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// PerLabel is the scope of each value of a label, such as "label:team".
func PerLabel(name string) Scope { return Scope(labelScope + name) }

func (p Scope) known() bool {
	switch p {
	case PerTenant, PerProject, PerKey, PerModel, PerEndUser, PerSession, PerCall:
		return true
	}
	label, ok := strings.CutPrefix(string(p), labelScope)
	return ok && labelKey.MatchString(label)
}

// applies tells whether a budget counts a subject's use at all.
func (b *Budget) applies(s *accounting.Subject) bool {
	return b.Project == "" || b.Project == s.Project
}

// names are what tells a window of a budget from its others of the same time.
// Key is empty but of a budget per key: two projects may have keys of one name.
type names struct{ name, key string }

// names says whose use the window counts, and whether there is such a window.
func (b *Budget) names(s *accounting.Subject, model string) (names, bool) {
	if !b.applies(s) {
		return names{}, false
	}
	switch b.Per {
	case PerTenant:
		return names{}, true
	case PerProject:
		return names{name: s.Project}, true
	case PerKey:
		return names{s.Project, s.Key}, true
	case PerModel:
		return names{name: model}, true
	case PerEndUser:
		return names{name: s.EndUser}, s.EndUser != ""
	case PerSession:
		return names{name: s.Session}, s.Session != ""
	}
	if label, ok := strings.CutPrefix(string(b.Per), labelScope); ok {
		value, has := s.Labels[label]
		return names{name: value}, has
	}
	return names{}, false
}

// scope is what a window with these names calls its scope.
func (b *Budget) scope(n names) string {
	switch b.Per {
	case PerTenant:
		return string(PerTenant)
	case PerKey:
		return "key/" + escape(n.name) + "/" + escape(n.key)
	}
	if label, ok := strings.CutPrefix(string(b.Per), labelScope); ok {
		return "label/" + label + "/" + escape(n.name)
	}
	return string(b.Per) + "/" + escape(n.name)
}

// PerCall returns the budgets that bound each call of a subject by itself.
func (k *Book) PerCall(s accounting.Subject) []Budget {
	if k == nil {
		return nil
	}
	var list []Budget
	for _, b := range k.budgets[s.Tenant] {
		if b.Per == PerCall && b.applies(&s) {
			list = append(list, b.Budget)
		}
	}
	return list
}
