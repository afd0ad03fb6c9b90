package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/report"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/store"
)

func operator() auth.Author {
	return auth.Author{Caller: auth.Caller{Key: "root", Role: auth.Platform}, RequestID: "r", At: start}
}

// letters are all that lie dead.
func letters(t *testing.T, s *store.Store) []ledger.DeadLetter {
	t.Helper()
	list, err := s.Letters(t.Context(), 0, 100)
	must(t, err)
	return list
}

// replayed is a letter that several replicas replay at once, and one whose line
// has come to the ledger since.
func replayed(t *testing.T, open Opener) {
	list := replicas(t, open, 3)
	s := list[0]
	w := window("w", 100)
	take(t, s, 1, w, 50)
	lost, late := entry("lost", 1, w, 7), entry("late", 1, w, 5)
	must(t, s.Bury(t.Context(), []ledger.DeadLetter{ledger.LetterOf(&lost, errors.New("odd")), ledger.LetterOf(&late, errors.New("odd"))}))
	// Again, by a process that does not know that it did.
	must(t, s.Bury(t.Context(), []ledger.DeadLetter{ledger.LetterOf(&lost, errors.New("odd"))}))
	write(t, s, late)
	expect(t, s, "w", 5, 45, 0)
	all := letters(t, s)
	if len(all) != 2 || all[0].RequestID != "lost" || all[0].Attempt != 1 || all[0].Cause != "odd" || !all[0].Time.Equal(lost.Line.End) {
		t.Fatalf("letters %+v", all)
	}
	if page, err := s.Letters(t.Context(), all[0].ID, 1); err != nil || len(page) != 1 || page[0].RequestID != "late" {
		t.Errorf("behind the first: %+v, %v", page, err)
	}
	var counted, gone atomic.Int64
	var group sync.WaitGroup
	for i := range 12 {
		s := list[i%len(list)]
		group.Go(func() {
			_, fresh, err := s.Replay(t.Context(), operator(), all[0].ID)
			switch {
			case errors.Is(err, ledger.ErrNoLetter):
				gone.Add(1)
			case err != nil:
				t.Errorf("replay: %v", err)
			case fresh:
				counted.Add(1)
			}
		})
	}
	group.Wait()
	if counted.Load() != 1 || gone.Load() != 11 {
		t.Errorf("counted %d times, and gone %d times", counted.Load(), gone.Load())
	}
	expect(t, s, "w", 12, 38, 0)
	letter, fresh, err := s.Replay(t.Context(), operator(), all[1].ID)
	if err != nil || fresh || letter.RequestID != "late" {
		t.Errorf("what is there already: %+v, %t, %v", letter, fresh, err)
	}
	expect(t, s, "w", 12, 38, 0)
	if left := letters(t, s); len(left) != 0 {
		t.Errorf("left are %+v", left)
	}
	if off, err := s.Audit(t.Context()); err != nil || len(off) > 0 {
		t.Errorf("audit: %q, %v", off, err)
	}
	events, err := s.Events(t.Context(), admin.EventQuery{All: true, Limit: 10})
	must(t, err)
	if len(events) != 2 || events[0].Kind != "DeadLetter" || events[0].Action != "replay" || events[0].Key != "root" || events[0].Tenant != "acme" ||
		events[0].Name != fmt.Sprint(all[1].ID) || events[0].After != "request_id: late\nattempt: 1\ncounted: false\n" {
		t.Errorf("audit log %+v", events)
	}
}

// stillDead is what cannot be read, and what the store cannot keep.
func stillDead(t *testing.T, open Opener) {
	s := one(t, open)
	twice := entry("twice", 0, window("w", 10), 3)
	twice.Settled = append(twice.Settled, twice.Settled[0])
	must(t, s.Bury(t.Context(), []ledger.DeadLetter{
		{RequestID: "garbage", Attempt: 1, Time: start, Payload: []byte("?"), Cause: "cannot be read"},
		ledger.LetterOf(&twice, errors.New("refused")),
	}))
	for i, why := range []string{"cannot be read", "feeds window w twice"} {
		letter := letters(t, s)[i]
		got, fresh, err := s.Replay(t.Context(), operator(), letter.ID)
		refused(t, err)
		if fresh || got.RequestID != letter.RequestID || !strings.Contains(fmt.Sprint(err), why) {
			t.Errorf("replayed %+v, %t, %v", got, fresh, err)
		}
	}
	if left := letters(t, s); len(left) != 2 {
		t.Errorf("left are %+v", left)
	}
	if _, known, err := s.Window(t.Context(), "w"); known || err != nil {
		t.Errorf("a window was made, %v", err)
	}
	events, err := s.Events(t.Context(), admin.EventQuery{All: true, Limit: 10})
	if err != nil || len(events) > 0 {
		t.Errorf("audit log %+v, %v", events, err)
	}
}

func lineList(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", 100)
	later := func(e ledger.Entry, hours int) ledger.Entry {
		e.Line.Start = start.Add(time.Duration(hours) * time.Hour)
		return e
	}
	failed := later(entry("c", 0, w, 0), 2)
	failed.Line.Outcome, failed.Line.Attempt.Number = accounting.OutcomeFailed, 1
	second := later(entry("c", 0, w, 4), 2)
	second.Line.Attempt.Number, second.Line.Model = 2, "big"
	theirs := later(entry("d", 0, window("x", 9), 1), 3)
	theirs.Line.Subject.Tenant = "other"
	write(t, s, later(entry("a", 0, w, 2), 0), later(entry("b", 0, w, 3), 1), second, failed, theirs)
	told := func(q report.LineQuery) string {
		t.Helper()
		if q.Limit == 0 {
			q.Limit = 100
		}
		list, err := s.ListLines(t.Context(), q)
		must(t, err)
		var all []string
		for _, l := range list {
			text := fmt.Sprint(l.RequestID, l.Attempt.Number)
			for _, a := range l.Allocations {
				text += fmt.Sprintf(":%s=%d %s", a.Window, a.Amount, a.Unit)
			}
			all = append(all, text)
		}
		return strings.Join(all, " ")
	}
	for _, c := range []struct {
		q    report.LineQuery
		want string
	}{
		{report.LineQuery{}, "d1:x=1 requests c1 c2:w=4 requests b1:w=3 requests a1:w=2 requests"},
		{report.LineQuery{Tenant: "acme", Outcome: accounting.OutcomeFailed}, "c1"},
		{report.LineQuery{Tenant: "other"}, "d1:x=1 requests"},
		{report.LineQuery{Tenant: "other", RequestID: "c"}, ""},
		{report.LineQuery{RequestID: "c"}, "c1 c2:w=4 requests"},
		{report.LineQuery{Model: "big"}, "c2:w=4 requests"},
		{report.LineQuery{From: start.Add(time.Hour), To: start.Add(2 * time.Hour)}, "b1:w=3 requests"},
		{report.LineQuery{After: report.Place{RequestID: "c", Attempt: 1}, Limit: 2}, "c2:w=4 requests b1:w=3 requests"},
		{report.LineQuery{After: report.Place{RequestID: "a", Attempt: 1}}, ""},
		{report.LineQuery{Key: "nobody"}, ""}, {report.LineQuery{Project: "nothing"}, ""}, {report.LineQuery{Backend: "none"}, ""},
	} {
		if got := told(c.q); got != c.want {
			t.Errorf("%+v:\n%s\nwant\n%s", c.q, got, c.want)
		}
	}
}
