package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/accounting/spool"
	"github.com/weir-gateway/weir/server/admit"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/idempotency"
)

// syncTime is how long the end of Weir waits for the store to take what was
// settled; the spool keeps the rest for the next start.
const syncTime = 5 * time.Second

// replicaFile says which replica a data folder is and how many processes have
// run in it.
const replicaFile = "replica"

// nextIncarnation counts this process in its folder, before it does anything by
// that number. A folder that is new becomes a new replica.
func nextIncarnation(data string) (name string, incarnation int64, err error) {
	file := filepath.Join(data, replicaFile)
	text, err := os.ReadFile(file)
	switch {
	case err == nil:
		first, second, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
		n, wrong := strconv.ParseInt(second, 10, 64)
		if wrong != nil || first == "" || n < 1 {
			return "", 0, usageError(fmt.Errorf("%s does not say which replica this is: restore it from a backup; or, where no spool is left in the folder, delete it", file))
		}
		name, incarnation = first, n
	case errors.Is(err, os.ErrNotExist):
		id, err := uuid.NewV7()
		if err != nil {
			return "", 0, err
		}
		name = id.String()
	default:
		return "", 0, usageError(fmt.Errorf("cannot read which replica this is: %w", err))
	}
	incarnation++
	if err := writeDurably(file, fmt.Sprintf("%s %d\n", name, incarnation)); err != nil {
		return "", 0, usageError(fmt.Errorf("cannot write to the data folder which replica this is: %w", err))
	}
	return name, incarnation, nil
}

// writeDurably replaces a file, so that after a power cut it is the old one or
// the new one.
func writeDurably(file, text string) error {
	draft := file + ".new"
	f, err := os.OpenFile(draft, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(draft, file); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// openLedger opens the spool, brings to the store what earlier processes left in
// it, and makes the ledger and the limiter.
func (w *weir) openLedger(ctx context.Context, config Config) error {
	dir := filepath.Join(config.Data, "spool")
	name, incarnation, err := nextIncarnation(config.Data)
	if err != nil {
		return err
	}
	log, found, err := spool.Open(spool.Config{Dir: dir, Replica: name, Incarnation: uint64(incarnation)})
	if err != nil {
		return err
	}
	w.undo = append(w.undo, func() {
		if err := log.Close(); err != nil {
			w.log.Error("the spool did not close cleanly", "error", err)
		}
	})
	for _, d := range found.Damage {
		w.log.Error("part of the spool cannot be read", "damage", d.String())
	}
	w.claims = &gateway.Claims{Store: w.store, Replica: name, Incarnation: incarnation}
	w.limiter = admit.New(time.Now)
	if config.Store != "" {
		w.limiter = admit.NewReplica(time.Now, w.store, fmt.Sprintf("%s/%d", name, incarnation))
	}
	leases := lease.Defaults()
	leases.Store, leases.Replica, leases.Incarnation = w.store, name, incarnation
	w.leases, err = lease.NewHolder(leases)
	if err != nil {
		return err
	}
	w.ledger = &ledger.Ledger{
		Store: w.store, Leases: w.leases, Spool: log, Durability: config.durability(),
		Prices:   func() *price.Catalogue { return w.live.Snapshot().Prices },
		Budgets:  func() *lease.Book { return w.live.Snapshot().Budgets },
		Exchange: func() *price.Exchange { return w.live.Snapshot().Exchange }, Provider: w.provider,
		Now: time.Now, Log: w.log,
	}
	inDoubt, err := w.ledger.Recover(ctx)
	if err != nil {
		return fmt.Errorf("bring to the store what the last run left in the spool: %w", err)
	}
	if inDoubt > 0 {
		w.log.Warn("the last run ended in the middle of calls; they are charged at what was held, as in doubt", "calls", inDoubt)
	}
	if !found.Complete {
		w.log.Warn("the spool may lack what the last run wrote: what it had leased of budgets stays set aside until the end of each window, or `weir lease reclaim`")
		return nil
	}
	return w.store.Release(ctx, name, incarnation)
}

// keepAccounts does what the ledger has to do beside the calls, until the
// context ends.
func (w *weir) keepAccounts(ctx context.Context) {
	w.running.Go(func() { w.ledger.Run(ctx) })
	w.running.Go(func() {
		w.leases.Run(ctx, lease.Defaults().TTL/10, func(err error) {
			w.log.Warn("the leases of budgets could not be tended; trying again", "error", err)
		})
	})
	w.running.Go(func() {
		w.limiter.Run(ctx, func(err error) {
			w.log.Warn("the store does not answer for rates; what this replica holds of them is used up, and no more", "error", err)
		})
	})
	w.running.Go(func() { w.sweep(ctx) })
}

// sweep forgets idempotency keys and answers whose time is over, until the
// context ends.
func (w *weir) sweep(ctx context.Context) {
	ticker := time.NewTicker(idempotency.SweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			w.cache.Sweep(now)
			if _, err := w.store.SweepClaims(ctx); err != nil && ctx.Err() == nil {
				w.log.Warn("old idempotency keys could not be forgotten; trying again", "error", err)
			}
		}
	}
}

// settleAccounts brings what was settled to the store and gives back what is
// left of the leases. What the store does not take now it gets at the next
// start.
func (w *weir) settleAccounts(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), syncTime)
	defer cancel()
	if err := errors.Join(w.ledger.Sync(ctx), w.leases.Close(ctx), w.limiter.Close(ctx)); err != nil {
		w.log.Warn("the store did not take everything on the way out; the spool and the leases keep it for the next start", "error", err)
	}
}
