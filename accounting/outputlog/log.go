package outputlog

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// The bounds of what waits to be written, and how it is written.
const (
	queueLength = 4096
	queueBytes  = 64 << 20 // of text
	batchLength = 64
	batchBytes  = 1 << 20                // of text, since SQLite's one writer is the ledger's too
	linger      = 100 * time.Millisecond // how long a record waits for others to share its commit
	retryEvery  = time.Second
	lastTime    = 5 * time.Second // for what is left when the log ends
	sweepEvery  = time.Minute
	sweepLength = 200
)

// A Fate is what became of a record.
type Fate string

// The fates.
const (
	Written      Fate = "written"
	DroppedQueue Fate = "dropped_queue" // too much was waiting to be written
	DroppedStore Fate = "dropped_store" // the store was away to the end
)

// A Log takes records and writes them in batches. Record and Flush are safe for
// concurrent use; Run is for one goroutine.
type Log struct {
	store    Store
	redactor *Redactor
	// count is told what became of records; it is safe for concurrent use.
	count func(Fate, int)
	log   *slog.Logger
	now   func() time.Time

	queue chan queued
	bytes atomic.Int64 // of the records in queue
}

// queued is a record, or somebody who waits for those before.
type queued struct {
	record  Record
	reached chan<- struct{}
}

// New makes a log on a store. Nothing is written before Run.
func New(store Store, redactor *Redactor, count func(Fate, int), log *slog.Logger, now func() time.Time) *Log {
	return &Log{store: store, redactor: redactor, count: count, log: log, now: now, queue: make(chan queued, queueLength)}
}

// Record takes a record. It returns at once: where too much waits already, the
// record is dropped.
func (l *Log) Record(r Record) {
	size := r.size()
	if l.bytes.Add(size) <= queueBytes {
		select {
		case l.queue <- queued{record: r}:
			return
		default:
		}
	}
	l.bytes.Add(-size)
	l.count(DroppedQueue, 1)
}

// Flush returns when what was recorded before has been written or dropped, so
// that who calls and then reads finds the call. It fails where the context ends.
func (l *Log) Flush(ctx context.Context) error {
	reached := make(chan struct{})
	select {
	case l.queue <- queued{reached: reached}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run writes what is recorded until the context ends, and then what still waits.
func (l *Log) Run(ctx context.Context) {
	for {
		b, ended := l.gather(ctx)
		if !ended {
			ended = !l.write(ctx, b)
		}
		if ended {
			l.end(ctx, b)
			return
		}
	}
}

// batch is what is written together.
type batch struct {
	records []Redacted
	bytes   int64
	reached []chan<- struct{}
}

func (b *batch) full() bool { return len(b.records) >= batchLength || b.bytes >= batchBytes }

// gather waits for a record, and then a little for others. It tells whether the
// context has ended.
func (l *Log) gather(ctx context.Context) (b batch, ended bool) {
	var late <-chan time.Time
	for !b.full() && len(b.reached) == 0 {
		select {
		case q := <-l.queue:
			l.take(&b, q)
		case <-late:
			return b, false
		case <-ctx.Done():
			return b, true
		}
		if late == nil {
			timer := time.NewTimer(linger)
			defer timer.Stop()
			late = timer.C
		}
	}
	return b, false
}

func (l *Log) take(b *batch, q queued) {
	if q.reached != nil {
		b.reached = append(b.reached, q.reached)
		return
	}
	size := q.record.size()
	l.bytes.Add(-size)
	b.bytes += size
	if r, keep := l.redactor.Redact(q.record); keep {
		b.records = append(b.records, r)
	}
}

// write tries until the store has the batch. False says that the context ended
// before.
func (l *Log) write(ctx context.Context, b batch) bool {
	for failed := false; len(b.records) > 0; failed = true {
		err := l.store.WriteOutputs(ctx, b.records)
		if err == nil {
			l.count(Written, len(b.records))
			break
		}
		if ctx.Err() != nil {
			return false
		}
		if !failed {
			l.log.Error("the output log cannot be written; trying again, and dropping what does not fit the queue", "error", err)
		}
		pause := time.NewTimer(retryEvery)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return false
		}
	}
	for _, reached := range b.reached {
		close(reached)
	}
	return true
}

// end tries once to write a last batch and what is still in the queue.
func (l *Log) end(ctx context.Context, b batch) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
	for {
		for more := true; more && !b.full(); {
			select {
			case q := <-l.queue:
				l.take(&b, q)
			default:
				more = false
			}
		}
		if len(b.records) == 0 && len(b.reached) == 0 {
			return
		}
		if len(b.records) > 0 {
			if err := l.store.WriteOutputs(ctx, b.records); err != nil {
				l.log.Error("records of the output log are lost", "records", len(b.records), "error", err)
				l.count(DroppedStore, len(b.records))
			} else {
				l.count(Written, len(b.records))
			}
		}
		for _, reached := range b.reached {
			close(reached)
		}
		b = batch{}
	}
}

// Sweep deletes what has expired, every minute, until the context ends.
func (l *Log) Sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		for n := int64(sweepLength); n == sweepLength; {
			var err error
			if n, err = l.store.SweepOutputs(ctx, l.now(), sweepLength); err != nil && ctx.Err() == nil {
				l.log.Error("cannot delete outputs that have expired; trying again", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
