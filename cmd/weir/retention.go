package main

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-gateway/weir/server/store"
)

// LedgerConfig is how long the ledger keeps its lines.
type LedgerConfig struct {
	// Keep is for how long a line is kept, such as 400d, by when the request's id
	// was made. 0 is forever. Replicas on one store are given the same.
	Keep time.Duration `yaml:"keep"`
}

func (c *LedgerConfig) check() string {
	if c.Keep != 0 && c.Keep < store.LeastKeep {
		return fmt.Sprintf("%s is too short: a replica that was away brings its calls when it comes back; use %dd or more, or leave it out to keep all", c.Keep, store.LeastKeep/store.Day)
	}
	return ""
}

const (
	tendEvery  = time.Hour   // how often the days of the ledger are seen to
	tendFailed = time.Minute // how soon again where that failed
)

// tendDays keeps room in the ledger for the days to come and drops what is too
// old, until the context ends.
func (w *weir) tendDays(ctx context.Context, keep time.Duration) {
	var known time.Time
	for {
		wait := tendEvery
		since, err := w.store.Tend(ctx, keep)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = tendFailed
			w.log.Warn("the days of the ledger could not be tended; trying again", "error", err)
		case since.After(known):
			known = since
			w.log.Info("the ledger has dropped the lines of calls from before this day", "day", since.Format(time.DateOnly))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
