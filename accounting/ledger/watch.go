package ledger

import (
	"context"
	"sync"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
)

// A Note is what befell a window since it was last noted.
type Note struct {
	Window accounting.Window
	// Refused counts the claims that it refused, Exceeded those that it granted
	// in excess of its limit.
	Refused, Exceeded int64
	// Alerts are the percentages of the limit to compare the spending with; empty
	// where nothing was spent.
	Alerts []int
}

// NoteStore keeps notes. It is safe for concurrent use, by several processes
// too.
type NoteStore interface {
	// Note adds what was counted to the windows, and returns the alerts that are
	// new: of several callers one gets each.
	Note(ctx context.Context, notes []Note, at time.Time) ([]accounting.Alert, error)
}

// A Watch gathers, beside the calls and off their path, what is to be known of
// budget windows and changes no room: counts, and thresholds that the spending
// has reached. What a process that is killed has gathered is lost; a threshold
// is found again by the next settle in its window. It is safe for concurrent
// use; a nil Watch gathers nothing.
type Watch struct {
	Store NoteStore
	// Tell is told of each new alert.
	Tell func(accounting.Alert)

	mu    sync.Mutex
	notes map[string]*Note
}

func (w *Watch) refused(window *accounting.Window) { w.note(Note{Window: *window, Refused: 1}) }

func (w *Watch) exceeded(all []accounting.Excess) {
	for _, e := range all {
		if e.Unheld {
			continue // nobody knows whether it exceeds
		}
		w.note(Note{Window: e.Window, Exceeded: 1})
	}
}

func (w *Watch) settled(book *lease.Book, fed *accounting.Window) {
	if alerts := book.Alerts(fed.Tenant, fed.Budget); len(alerts) > 0 {
		w.note(Note{Window: *fed, Alerts: alerts})
	}
}

func (w *Watch) note(n Note) {
	if w == nil || n.Window.ID == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(n)
}

func (w *Watch) add(n Note) {
	if w.notes == nil {
		w.notes = map[string]*Note{}
	}
	old := w.notes[n.Window.ID]
	if old == nil {
		w.notes[n.Window.ID] = &n
		return
	}
	old.Window = n.Window
	old.Refused += n.Refused
	old.Exceeded += n.Exceeded
	if len(n.Alerts) > 0 {
		old.Alerts = n.Alerts
	}
}

// Flush gives the store what was gathered, and tells of new alerts. After an
// error it is gathered still, and the next Flush tries again; what the store
// kept all the same is then counted twice, and alerted once.
func (w *Watch) Flush(ctx context.Context, at time.Time) error {
	w.mu.Lock()
	gathered := w.notes
	w.notes = nil
	w.mu.Unlock()
	if len(gathered) == 0 {
		return nil
	}
	list := make([]Note, 0, len(gathered))
	for _, n := range gathered {
		list = append(list, *n)
	}
	alerts, err := w.Store.Note(ctx, list, at)
	for _, a := range alerts {
		w.Tell(a)
	}
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, n := range list {
			w.add(n)
		}
	}
	return err
}
