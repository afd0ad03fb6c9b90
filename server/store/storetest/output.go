package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/outputlog"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
	"github.com/weir-gateway/weir/server/store"
)

// newRedactor compiles some hundred expressions, once.
var newRedactor = sync.OnceValues(func() (*outputlog.Redactor, error) { return outputlog.NewRedactor(guard.All()) })

func redactor(t testing.TB) *outputlog.Redactor {
	t.Helper()
	r, err := newRedactor()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// said is a record of mode full with every field set.
func said(id string) outputlog.Record {
	score := 0.25
	usd := func(n int64) accounting.Money { return accounting.Money{Currency: "USD", Nanos: n} }
	r := outputlog.Record{
		RequestID: id,
		Subject:   accounting.Subject{Tenant: "acme", Project: "default", Key: "k1", EndUser: "u", Session: "s", Labels: map[string]string{"team": "ärger"}},
		Model:     "m", Backend: "b", BackendModel: "bm",
		Start: start, FirstOutput: 20 * time.Millisecond, Total: 3 * time.Second,
		Outcome: accounting.OutcomeCompleted, Failure: "STREAM_BROKEN", Finish: "stop", Source: accounting.SourceProvider,
		Cost: &accounting.Cost{ProviderCost: usd(3), Charge: usd(4), PriceVersion: "m@1", Items: []accounting.Item{{Meter: accounting.Input, Quantity: 3, Price: 1_000, Amount: usd(3)}}},
		Verdicts: []policy.Verdict{
			{Guard: "lexicon", Rule: "output[0]", Policy: "acme/p", Revision: 3, Category: "test", Severity: policy.High, Score: &score, Action: policy.Redact, Stage: policy.Output, Candidate: 1, Message: -1, Part: -1, Channel: policy.Content, Start: 1, End: 4, More: 2},
			{Guard: "pii", Rule: "input[0]", Policy: "p", Action: policy.Flag, Stage: policy.Input, Message: 0, Part: 1},
		},
		Mode: outputlog.ModeFull, Probability: 0.125, Expires: start.Add(time.Hour),
		Messages: []outputlog.Message{
			{Role: "user", Name: "ada", Parts: []outputlog.Part{{Channel: "content", Text: "什么?\x00 \"<b>\""}}},
			{Role: "tool", Parts: []outputlog.Part{{Channel: "result", Text: "no", CallID: "c", Tool: "f", Failed: true}}},
		},
		Candidates: []outputlog.Candidate{{Finish: "stop", Parts: []outputlog.Part{{Channel: "content", Text: "ja 🎈"}}}, {Finish: "safety", Parts: []outputlog.Part{}}},
	}
	r.Usage.Set(accounting.Input, 3)
	r.Usage.Set(accounting.Output, 0)
	return r
}

func keep(t testing.TB, s *store.Store, records ...outputlog.Record) {
	t.Helper()
	var list []outputlog.Redacted
	for _, r := range records {
		redacted, ok := redactor(t).Redact(r)
		if !ok {
			t.Fatalf("mode %q keeps nothing", r.Mode)
		}
		list = append(list, redacted)
	}
	if err := s.WriteOutputs(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

func outputComesBack(t *testing.T, open Opener) {
	s := one(t, open)
	full, meta := said("full"), said("meta")
	meta.Mode, meta.Cost, meta.Verdicts = outputlog.ModeMetadata, nil, nil
	empty := outputlog.Record{RequestID: "empty", Subject: accounting.Subject{Tenant: "acme"}, Mode: outputlog.ModeRedacted, Start: start, Expires: start, Messages: []outputlog.Message{}, Candidates: []outputlog.Candidate{}}
	keep(t, s, full, meta, empty)
	meta.Messages, meta.Candidates = nil, nil
	for _, want := range []outputlog.Record{full, meta, empty} {
		got, err := s.Output(t.Context(), "acme", want.RequestID)
		if err != nil || !reflect.DeepEqual(got.Record, want) {
			t.Errorf("%s, %v\n%+v\nwant\n%+v", want.RequestID, err, got.Record, want)
		}
	}
	// The first record of a call stands, and one that is there takes no other
	// with it.
	again, other := said("full"), said("other")
	again.Model = "another"
	keep(t, s, again, other)
	for _, id := range []string{"full", "other"} {
		if got, err := s.Output(t.Context(), "acme", id); err != nil || got.Record.Model != "m" {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
	for _, c := range [][2]string{{"acme", "nobody"}, {"else", "full"}, {"", "full"}} {
		if got, err := s.Output(t.Context(), c[0], c[1]); !errors.Is(err, outputlog.ErrNoOutput) {
			t.Errorf("output %v: %+v, %v", c, got, err)
		}
	}
}

// outputModel compares queries, page by page, with a filter made the obvious way.
func outputModel(t *testing.T, open Opener) {
	s := one(t, open)
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		run++
		var all []outputlog.Record
		tenants := []string{fmt.Sprint("a-", run), fmt.Sprint("b-", run)}
		for i := range rapid.IntRange(0, 10).Draw(r, "records") {
			o := said(fmt.Sprintf("%d-%d", run, i))
			o.Subject.Tenant = rapid.SampledFrom(tenants).Draw(r, "tenant")
			o.Subject.Project, o.Model, o.Finish = someProjects.Draw(r, "project"), someTeams.Draw(r, "model"), someUsers.Draw(r, "finish")
			o.Start = start.Add(time.Duration(rapid.IntRange(0, 3).Draw(r, "minute")) * time.Minute)
			if rapid.Bool().Draw(r, "clean") {
				o.Verdicts = nil
			}
			all = append(all, o)
		}
		keep(t, s, all...)
		q := outputlog.Query{Tenant: tenants[0], Limit: rapid.IntRange(1, 4).Draw(r, "limit")}
		if rapid.Bool().Draw(r, "from") {
			q.From = start.Add(time.Minute)
		}
		if rapid.Bool().Draw(r, "to") {
			q.To = start.Add(3 * time.Minute)
		}
		if rapid.Bool().Draw(r, "narrow") {
			q.Project, q.Model, q.Finish = someProjects.Draw(r, "only project"), someTeams.Draw(r, "only model"), someUsers.Draw(r, "only finish")
		}
		if rapid.Bool().Draw(r, "verdicts") {
			found := rapid.Bool().Draw(r, "found")
			q.Verdicts = &found
		}
		var want []string
		slices.SortFunc(all, func(a, b outputlog.Record) int {
			return cmp.Or(b.Start.Compare(a.Start), strings.Compare(b.RequestID, a.RequestID))
		})
		for _, o := range all {
			if o.Subject.Tenant == q.Tenant && !o.Start.Before(q.From) && (q.To.IsZero() || o.Start.Before(q.To)) &&
				(q.Project == "" || q.Project == o.Subject.Project) && (q.Model == "" || q.Model == o.Model) && (q.Finish == "" || q.Finish == o.Finish) &&
				(q.Verdicts == nil || *q.Verdicts == (len(o.Verdicts) > 0)) {
				want = append(want, o.RequestID)
			}
		}
		var got []string
		for {
			page, err := s.Outputs(t.Context(), q)
			if err != nil || len(page) > q.Limit {
				r.Fatalf("%d outputs, %v", len(page), err)
			}
			for _, o := range page {
				got = append(got, o.Record.RequestID)
			}
			if len(page) < q.Limit {
				break
			}
			q.After = page[len(page)-1].Cursor()
		}
		if !slices.Equal(got, want) {
			r.Fatalf("outputs %q; want %q", got, want)
		}
	})
}

func ratings(t *testing.T, open Opener) {
	s := one(t, open)
	keep(t, s, said("a"), said("b"))
	score, zero, grade := 1.0, 0.0, int64(-3)
	rate := func(r outputlog.Rating) (outputlog.Rating, error) {
		return s.Rate(t.Context(), redactor(t).RedactRating(r, outputlog.ModeFull))
	}
	first := outputlog.Rating{RequestID: "a", Tenant: "acme", ID: "r1", Project: "default", Key: "k1", Rater: "ada", Made: start, Thumb: outputlog.Up, Score: &score, Grade: &grade, Comment: "很好", Corrected: "besser"}
	second := outputlog.Rating{RequestID: "a", Tenant: "acme", ID: "r0", Key: "platform", Made: start.Add(time.Second), Score: &zero}
	for _, want := range []outputlog.Rating{first, second} {
		if got, err := rate(want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	later := first
	later.Made = start.Add(time.Hour)
	if got, err := rate(later); err != nil || !reflect.DeepEqual(got, first) {
		t.Errorf("the same once more: %+v, %v", got, err)
	}
	later.Comment = "doch nicht"
	if got, err := rate(later); !errors.Is(err, outputlog.ErrRatingTaken) {
		t.Errorf("another one of the same id: %+v, %v", got, err)
	}
	for _, c := range [][2]string{{"nobody", "acme"}, {"a", "else"}} {
		lost := first
		lost.RequestID, lost.Tenant, lost.ID = c[0], c[1], "r9"
		if got, err := rate(lost); !errors.Is(err, outputlog.ErrNoOutput) {
			t.Errorf("a rating of %v: %+v, %v", c, got, err)
		}
		lost.ID = "r1" // one that is there, for its own tenant
		if got, err := rate(lost); !errors.Is(err, outputlog.ErrNoOutput) {
			t.Errorf("a rating of %v: %+v, %v", c, got, err)
		}
	}
	list, err := s.Outputs(t.Context(), outputlog.Query{Tenant: "acme", Limit: 10})
	must(t, err)
	if len(list) != 2 || list[0].Ratings != nil || !reflect.DeepEqual(list[1].Ratings, []outputlog.Rating{first, second}) {
		t.Errorf("outputs with ratings %+v", list)
	}
}

func sweep(t *testing.T, open Opener) {
	s := one(t, open)
	var all []outputlog.Record
	for i := range 5 {
		r := said(fmt.Sprint("r", i))
		r.Expires = start.Add(time.Duration(i) * time.Hour)
		all = append(all, r)
	}
	keep(t, s, all...)
	if _, err := s.Rate(t.Context(), redactor(t).RedactRating(outputlog.Rating{RequestID: "r0", Tenant: "acme", ID: "x", Made: start}, outputlog.ModeFull)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int64{2, 1, 0} { // r0 to r2 have expired
		if n, err := s.SweepOutputs(t.Context(), start.Add(2*time.Hour), 2); err != nil || n != want {
			t.Errorf("%d were swept, %v; want %d", n, err, want)
		}
	}
	list, err := s.Outputs(t.Context(), outputlog.Query{Tenant: "acme", Limit: 10})
	must(t, err)
	if len(list) != 2 || list[0].Record.RequestID != "r4" || list[1].Record.RequestID != "r3" {
		t.Errorf("what is left: %+v", list)
	}
	// Its ratings went with it: the id is free.
	keep(t, s, said("r0"))
	if o, err := s.Output(t.Context(), "acme", "r0"); err != nil || o.Ratings != nil {
		t.Errorf("a rating outlived its output: %+v, %v", o, err)
	}
}
