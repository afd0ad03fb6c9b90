package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting/report"
)

func TestAQueryNamesWhatIsWrongWithIt(t *testing.T) {
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for want, q := range map[string]report.Query{
		`"colour" is not a dimension: group by tenant, project, key, model, backend, outcome, end_user, session, service_class or labels.KEY`: {GroupBy: []string{"tenant", "colour"}},
		`"labels." is not a label`:         {GroupBy: []string{"labels."}},
		`"labels.a\"b" is not a label`:     {GroupBy: []string{`labels.a"b`}},
		`"labels.$.x[0]" is not a label`:   {GroupBy: []string{`labels.$.x[0]`}},
		`dimension "model" is there twice`: {GroupBy: []string{"model", "key", "model"}},
		"before it begins":                 {From: now, To: now.Add(-time.Second)},
		"limit -1 is out of range":         {Limit: -1},
		"limit 10001 is out of range":      {Limit: 10001},
		"start again with the first page":  {GroupBy: []string{"model"}, After: []string{"a", "b"}},
	} {
		if err := q.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q in it", err, want)
		}
	}
	for _, q := range []report.Query{
		{}, {From: now}, {To: now}, {From: now, To: now}, {GroupBy: []string{"labels.team", "labels.cost-center/eu_1.x"}, After: []string{"", ""}, Limit: report.MaxLimit},
		{GroupBy: []string{report.Tenant, report.Project, report.Key, report.Model, report.Backend, report.Outcome, report.EndUser, report.Session, report.ServiceClass}},
	} {
		if err := q.Validate(); err != nil {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
