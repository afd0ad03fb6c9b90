package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// A group lets transactions that wait for one writer share a commit, and with
// it the wait for the disk. Each runs in a savepoint of its own, so one that
// fails takes no other with it. There is no goroutine: whoever gets the turn
// runs what has gathered.
type group struct {
	db   *sql.DB
	turn chan struct{}
	jobs chan *job
}

type job struct {
	ctx  context.Context
	run  func(context.Context, *sql.Tx) error
	done chan error
}

// errPanic is for the bystanders; who panicked sees it.
var errPanic = errors.New("another transaction of the same commit panicked; nothing of it was kept")

// crowd is how many transactions share one commit at most.
const crowd = 256

func newGroup(db *sql.DB) *group {
	return &group{db: db, turn: make(chan struct{}, 1), jobs: make(chan *job, crowd)}
}

// do runs f. Once f has begun, do waits for its end whatever becomes of ctx.
func (g *group) do(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	j := &job{ctx, f, make(chan error, 1)}
	select {
	case g.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		select {
		case err := <-j.done:
			return err
		case g.turn <- struct{}{}:
			g.run()
		}
	}
}

// run commits the jobs that have gathered, and gives the turn back.
func (g *group) run() {
	var batch []*job
	defer func() {
		<-g.turn
		for _, j := range batch {
			select {
			case j.done <- errPanic: // only where it has no answer yet
			default:
			}
		}
	}()
	for len(batch) < crowd {
		select {
		case j := <-g.jobs:
			if err := j.ctx.Err(); err != nil {
				j.done <- err
				continue
			}
			batch = append(batch, j)
			continue
		default:
		}
		break
	}
	if len(batch) == 0 {
		return
	}
	results, err := g.commit(batch)
	for i, j := range batch {
		if err != nil {
			j.done <- err
		} else {
			j.done <- results[i]
		}
	}
}

// commit runs a batch in one transaction and returns the error of each, or one
// that stands for all, of which then none was kept.
func (g *group) commit(batch []*job) ([]error, error) {
	// No statement may be interrupted: SQLite answers that by rolling back the
	// whole transaction, the others' work too.
	ctx := context.Background()
	tx, err := g.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() // does nothing after Commit
	results := make([]error, len(batch))
	if len(batch) == 1 { // nobody's work but its own to keep
		if err := batch[0].run(ctx, tx); err != nil {
			return nil, err
		}
		return results, tx.Commit()
	}
	for i, j := range batch {
		if results[i], err = savepoint(ctx, tx, j.run); err != nil {
			return nil, err
		}
	}
	return results, tx.Commit()
}

// savepoint runs f and keeps or undoes what it did. Its second error says that
// the transaction is lost: a full disk, for example, rolls all of it back, and
// a statement that ran after that would commit by itself.
func savepoint(ctx context.Context, tx *sql.Tx, f func(context.Context, *sql.Tx) error) (result, lost error) {
	if _, err := tx.ExecContext(ctx, `SAVEPOINT job`); err != nil {
		return nil, err
	}
	end := `RELEASE job`
	if result = f(ctx, tx); result != nil {
		end = `ROLLBACK TO job; RELEASE job`
	}
	if _, err := tx.ExecContext(ctx, end); err != nil {
		if result != nil {
			err = result
		}
		return nil, fmt.Errorf("the transaction was lost: %w", err)
	}
	return result, nil
}
