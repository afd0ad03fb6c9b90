package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weir-gateway/weir/accounting/spool"
)

// flusher tells those who wait for the store how far it has got.
type flusher struct {
	mu sync.Mutex
	// last is the newest position that a Settle has written, and done the one up
	// to which everything is in the store.
	last, done spool.Position
	// moved is closed when done grows, nil while nobody waits.
	moved chan struct{}
	// wanted is closed when somebody begins to wait, nil while Run does not pause.
	wanted chan struct{}
	// failed is why the store did not take the last batch, nil where it did.
	failed error
}

// failing notes that the store does not take what was settled.
func (f *flusher) failing(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = err
}

// admits tells why no call may begin that is to wait for the store in the end.
func (f *flusher) admits() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return fmt.Errorf("calls wait for the store, which does not take what was settled: %w", f.failed)
	}
	return nil
}

// wrote notes the position of an entry and, where asked to, waits until it is in
// the store.
func (f *flusher) wrote(ctx context.Context, at spool.Position, wait bool) error {
	f.mu.Lock()
	f.last = max(f.last, at)
	f.mu.Unlock()
	if !wait {
		return nil
	}
	return f.await(ctx, at)
}

func (f *flusher) await(ctx context.Context, at spool.Position) error {
	for {
		f.mu.Lock()
		if f.done >= at {
			f.mu.Unlock()
			return nil
		}
		if f.moved == nil {
			f.moved = make(chan struct{})
		}
		moved := f.moved
		if f.wanted != nil {
			close(f.wanted)
			f.wanted = nil
		}
		f.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("the entry is in the spool and not in the store yet: %w", ctx.Err())
		}
	}
}

// pause lets entries gather that can share a transaction, unless somebody waits.
func (f *flusher) pause(ctx context.Context) {
	f.mu.Lock()
	if f.moved != nil {
		f.mu.Unlock()
		return
	}
	wanted := make(chan struct{})
	f.wanted = wanted
	f.mu.Unlock()
	timer := time.NewTimer(linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wanted:
	case <-ctx.Done():
	}
}

func (f *flusher) reached(at spool.Position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done, f.failed = max(f.done, at), nil
	if f.moved != nil {
		close(f.moved)
		f.moved = nil
	}
}

// Sync waits until everything that has been settled by now is in the store.
func (l *Ledger) Sync(ctx context.Context) error {
	l.flusher.mu.Lock()
	last := l.flusher.last
	l.flusher.mu.Unlock()
	return l.flusher.await(ctx, last)
}

// batch is how many entries one transaction keeps at most.
const batch = 512

// linger is how long entries gather, after a transaction that was not full, for
// the next. A transaction of few rows costs almost what one of many does.
const linger = 50 * time.Millisecond

// The pauses between tries while the store cannot be reached.
const (
	leastPause = 50 * time.Millisecond
	mostPause  = 2 * time.Second
)

// Run takes what the spool has to the store, until the context ends or the spool
// is closed. It is the ledger's only flusher.
func (l *Ledger) Run(ctx context.Context) {
	for {
		entries, err := l.Spool.Pending(ctx, batch)
		if err == nil {
			err = l.flush(ctx, entries)
		}
		if err == nil && len(entries) < batch {
			l.flusher.pause(ctx)
		}
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, spool.ErrClosed) {
				l.Log.ErrorContext(ctx, "the spool cannot be taken to the store any more; restart Weir", "error", err)
			}
			return
		}
	}
}

// Recover takes to the store what earlier processes left in the spool: what they
// settled, and as in doubt what they did not. It returns how many of those there
// were. It is called before Run, and fails where the store does.
func (l *Ledger) Recover(ctx context.Context) (inDoubt int, err error) {
	for l.Spool.Stats().Unflushed > 0 {
		entries, err := l.Spool.Pending(ctx, batch)
		if err != nil {
			return inDoubt, err
		}
		if err := l.write(ctx, entries); err != nil {
			return inDoubt, err
		}
		for _, e := range entries {
			if e.Abandoned {
				inDoubt++
			}
		}
		if err := l.done(entries); err != nil {
			return inDoubt, err
		}
	}
	return inDoubt, nil
}

// flush keeps a batch in the store, however long that takes.
func (l *Ledger) flush(ctx context.Context, entries []spool.Entry) error {
	pause := leastPause
	for {
		err := l.write(ctx, entries)
		if err == nil {
			return l.done(entries)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.flusher.failing(err)
		if pause == leastPause {
			l.Log.WarnContext(ctx, "the store does not take what was settled; the spool keeps it", "entries", len(entries), "error", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		pause = min(2*pause, mostPause)
	}
}

func (l *Ledger) done(entries []spool.Entry) error {
	last := entries[len(entries)-1].Position
	if err := l.Spool.Done(last); err != nil {
		if l.Spool.Err() != nil {
			return err
		}
		l.Log.Warn("a segment of the spool that is done with cannot be deleted", "error", err)
	}
	l.flusher.reached(last)
	return nil
}

// write keeps a batch. Where the store refuses it though it can be reached, the
// entries are tried one by one, and those that it refuses are buried: one that
// can never be written must not keep all later ones out.
func (l *Ledger) write(ctx context.Context, records []spool.Entry) error {
	entries, letters := l.read(records)
	kept := entries
	err := l.Store.Write(ctx, entries)
	var permanent *RefusedError
	if errors.As(err, &permanent) {
		kept = nil
		for i := range entries {
			err := l.Store.Write(ctx, entries[i:i+1])
			if errors.As(err, &permanent) {
				letters = append(letters, LetterOf(&entries[i], err))
				continue
			}
			if err != nil {
				return err
			}
			kept = append(kept, entries[i])
		}
		err = nil
	}
	if err != nil {
		return err
	}
	l.watched(kept)
	if len(letters) == 0 {
		return nil
	}
	if err := l.Store.Bury(ctx, letters); err != nil {
		return err
	}
	for _, letter := range letters {
		l.Log.ErrorContext(ctx, "an entry of the spool cannot be kept in the ledger and lies in dead_letters", "request_id", letter.RequestID, "attempt", letter.Attempt, "cause", letter.Cause)
	}
	return nil
}

// watched tells what windows were fed: now that the store has it, alerts can be
// seen.
func (l *Ledger) watched(entries []Entry) {
	if l.Watch == nil {
		return
	}
	book := l.Budgets()
	for i := range entries {
		if !entries[i].Line.Outcome.Charged() {
			continue
		}
		for _, s := range entries[i].Settled {
			l.Watch.settled(book, s.Window)
		}
	}
}

// RefusedError says that the store can be reached and will never take an entry.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return "the store refuses the entry: " + e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// read makes entries of records.
func (l *Ledger) read(records []spool.Entry) (entries []Entry, letters []DeadLetter) {
	entries = make([]Entry, 0, len(records))
	var windows knownWindows
	for i := range records {
		r := &records[i]
		e, err := l.entryOf(r, &windows)
		if err != nil {
			letters = append(letters, unreadable(r, err))
			continue
		}
		entries = append(entries, e)
	}
	return entries, letters
}

func (l *Ledger) entryOf(r *spool.Entry, windows *knownWindows) (Entry, error) {
	if e, ok := r.Value.(*Entry); ok {
		return *e, nil
	}
	if !r.Abandoned {
		return readEntry(r.Payload, windows)
	}
	o, err := readOpening(lastOf(r))
	if err != nil {
		return Entry{}, err
	}
	return o.inDoubt(l.Now())
}

// lastOf is the payload that says how a record stands: of one with top-ups, that
// of the last.
func lastOf(r *spool.Entry) []byte {
	if n := len(r.TopUps); n > 0 {
		return r.TopUps[n-1]
	}
	return r.Payload
}
