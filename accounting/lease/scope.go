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
func (b *Budget) applies(s accounting.Subject) bool { return b.Project == "" || b.Project == s.Project }

// scope names whose use a window counts, and whether there is such a window.
func (b *Budget) scope(s accounting.Subject, model string) (string, bool) {
	if !b.applies(s) {
		return "", false
	}
	switch b.Per {
	case PerTenant:
		return string(PerTenant), true
	case PerProject:
		return "project/" + escape(s.Project), true
	case PerKey:
		// Two projects may have keys of one name.
		return "key/" + escape(s.Project) + "/" + escape(s.Key), true
	case PerModel:
		return "model/" + escape(model), true
	case PerEndUser:
		return "end_user/" + escape(s.EndUser), s.EndUser != ""
	case PerSession:
		return "session/" + escape(s.Session), s.Session != ""
	}
	if label, ok := strings.CutPrefix(string(b.Per), labelScope); ok {
		value, has := s.Labels[label]
		return "label/" + label + "/" + escape(value), has
	}
	return "", false
}

// PerCall returns the budgets that bound each call of a subject by itself.
func (k *Book) PerCall(s accounting.Subject) []Budget {
	if k == nil {
		return nil
	}
	var list []Budget
	for _, b := range k.budgets[s.Tenant] {
		if b.Per == PerCall && b.applies(s) {
			list = append(list, b.Budget)
		}
	}
	return list
}
