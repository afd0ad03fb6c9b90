// Package report asks the ledger what was spent: sums of lines, grouped by
// dimensions, and the lines themselves. It knows no SQL: a Store answers a Query. What it refuses to do
// is to add amounts of two currencies, and to call an unpriced call free.
package report

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// A Query asks for sums over the lines of the attempts that began in a span of
// time. A correction counts when its attempt began, so that a period's report
// and its budget windows speak of the same calls.
type Query struct {
	// Tenant restricts the query to one tenant; empty for all.
	Tenant string
	// From is the first instant, To the first one after the span. The zero
	// time leaves that side open.
	From, To time.Time
	// GroupBy names the dimensions of a row; none makes one row of everything.
	GroupBy []string
	// Limit is the most rows to return, DefaultLimit where it is 0.
	Limit int
	// After continues behind the row with these values, as a Report's Next says.
	After []string
}

// The bounds of Query.Limit.
const (
	DefaultLimit = 1000
	MaxLimit     = 10000
)

// LabelPrefix begins a dimension that is one of the caller's labels.
const LabelPrefix = "labels."

// The dimensions beside labels.
const (
	Tenant  = "tenant"
	Project = "project"
	Key     = "key"
	Model   = "model"
	Backend = "backend"
	Outcome = "outcome"
	EndUser = "end_user"
	Session = "session"
	// ServiceClass is the one that has served.
	ServiceClass = "service_class"
)

var dimensions = []string{Tenant, Project, Key, Model, Backend, Outcome, EndUser, Session, ServiceClass}

// Validate tells what is wrong with a query.
func (q *Query) Validate() error {
	for i, d := range q.GroupBy {
		if label, ok := strings.CutPrefix(d, LabelPrefix); ok {
			if err := checkLabel(label); err != nil {
				return err
			}
		} else if !slices.Contains(dimensions, d) {
			return fmt.Errorf("%q is not a dimension: group by %s or labels.KEY", d, strings.Join(dimensions, ", "))
		}
		if slices.Contains(q.GroupBy[:i], d) {
			return fmt.Errorf("dimension %q is there twice: name it once", d)
		}
	}
	if !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From) {
		return fmt.Errorf("the report ends at %s, before it begins at %s", q.To.UTC().Format(time.RFC3339), q.From.UTC().Format(time.RFC3339))
	}
	if q.Limit < 0 || q.Limit > MaxLimit {
		return fmt.Errorf("limit %d is out of range: use 1 to %d, and go on with the next page", q.Limit, MaxLimit)
	}
	if len(q.After) != 0 && len(q.After) != len(q.GroupBy) {
		return errors.New("the page to go on from belongs to another report: start again with the first page")
	}
	return nil
}

func checkLabel(label string) error {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-./", r)
	}
	if label == "" || len(label) > 63 || strings.ContainsFunc(label, odd) {
		return fmt.Errorf("%q is not a label to group by: labels.KEY takes a key of 1 to 63 letters, digits and _ - . /", LabelPrefix+label)
	}
	return nil
}

// A Row sums the lines that share the values of a query's dimensions.
type Row struct {
	// Dimensions are the values in the order of Query.GroupBy, empty where a
	// line has none.
	Dimensions []string
	// Calls counts request ids, Attempts the tries at a backend.
	Calls    int64
	Attempts int64
	// Usage sums each meter over the lines that know it; absent where none does.
	Usage accounting.Usage
	// Costs are the charges, one a currency, sorted by its code.
	Costs []accounting.Money
	// Saved is what cache hits have saved, as accounting.Line.Saved, one a currency
	// that has any.
	Saved []accounting.Money
	// Unpriced counts the lines that somebody would pay for if their price were
	// known. Costs leave them out.
	Unpriced int64
}

// A Report answers a Query.
type Report struct {
	// Rows are sorted by their dimensions, in the order of bytes.
	Rows []Row
	// Totals are the charges of all rows, those of other pages too, one a
	// currency.
	Totals []accounting.Money
	// Saved is what cache hits have saved in all rows, one a currency that has any.
	Saved []accounting.Money
	// Horizon is the time before which the lines of calls were dropped and are in
	// no sum; zero where none were.
	Horizon time.Time
	// Next is the After of the next page, nil where this is the last.
	Next []string
}

// Store answers queries. It is safe for concurrent use.
type Store interface {
	// Sum is exact. It fails with accounting.ErrOverflow where a sum does not
	// fit, and with the error of Validate.
	Sum(ctx context.Context, q Query) (Report, error)
	// ListLines returns the lines that are asked for.
	ListLines(ctx context.Context, q LineQuery) ([]Line, error)
}
