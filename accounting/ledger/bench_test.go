//go:build unix

package ledger_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/accounting/spool"
)

// nowhere is a store that keeps nothing, which shows what is spent before it.
type nowhere struct{}

func (nowhere) Write(context.Context, []ledger.Entry) error     { return nil }
func (nowhere) Bury(context.Context, []ledger.DeadLetter) error { return nil }

func benchBudgets() []lease.Budget {
	return []lease.Budget{
		budget("a", lease.PerTenant, 1e18, "USD"), budget("b", lease.PerProject, 1e15, accounting.UnitTokens),
		budget("c", lease.PerKey, 1e15, accounting.UnitTokens), budget("d", lease.PerTenant, 1e15, accounting.UnitRequests),
	}
}

// generous is a store of leases that have room for every call to come.
type generous struct{ lease.Store }

func (generous) Grant(_ context.Context, _ time.Duration, wants []lease.Want) ([]lease.Grant, error) {
	grants := make([]lease.Grant, len(wants))
	for i, w := range wants {
		grants[i] = lease.Grant{Granted: w.Need + 1<<59, State: lease.Live}
	}
	return grants, nil
}

// benchLedger is a ledger under four budgets, as a Weir runs it.
func benchLedger(b *testing.B, to ledger.Store) *ledger.Ledger {
	s := openStore(b)
	if to == nil {
		to = s
	}
	log, _, err := spool.Open(spool.Config{Dir: b.TempDir(), Replica: "r", Incarnation: 1})
	if err != nil {
		b.Fatal(err)
	}
	c := lease.Defaults()
	c.Store, c.Replica, c.Incarnation = s, "r", 1
	leases, err := lease.NewHolder(c)
	if err != nil {
		b.Fatal(err)
	}
	catalogue, budgets := prices(b), book(b, benchBudgets()...)
	l := &ledger.Ledger{
		Store: to, Leases: leases, Spool: log, Durability: spool.Relaxed, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Prices: func() *price.Catalogue { return catalogue }, Budgets: func() *lease.Book { return budgets },
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { l.Leases.Run(ctx, 20*time.Millisecond, func(err error) { b.Log(err) }) })
	running.Go(func() { l.Run(ctx) })
	b.Cleanup(func() {
		if err := l.Sync(ctx); err != nil {
			b.Error(err)
		}
		stop()
		running.Wait()
		if err := log.Close(); err != nil {
			b.Error(err)
		}
	})
	return l
}

func callOnce(ctx context.Context, l *ledger.Ledger, a accounting.Attempt) (hold, settle time.Duration, err error) {
	a.RequestID = uuid.Must(uuid.NewV7()).String()
	began := time.Now()
	h, err := l.Hold(ctx, a, tokens(10, 20), nil)
	held := time.Now()
	if err == nil {
		_, err = h.Settle(ctx, completed(tokens(9, 9)))
	}
	return held.Sub(began), time.Since(held), err
}

// processTime is what this process has used of all cores, itself and the kernel
// for it.
func processTime(b *testing.B) (own, kernel time.Duration) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
}

// BenchmarkAccounting is the CPU time that a call pays for its accounting under
// four budgets, of all threads together: claims, an opening and an entry in the
// spool, which is synced beside it, and reading them back for a store that takes
// no time. The other one writes to SQLite.
func BenchmarkAccounting(b *testing.B) {
	for _, c := range []struct {
		name string
		to   ledger.Store
	}{{"store=none", nowhere{}}, {"store=sqlite", nil}} {
		b.Run(c.name, func(b *testing.B) {
			defer debug.SetGCPercent(debug.SetGCPercent(400)) // as weir serve does
			l, a := benchLedger(b, c.to), attempt("")
			b.SetParallelism(16)
			b.ReportAllocs()
			b.ResetTimer()
			own, kernel := processTime(b)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, _, err := callOnce(b.Context(), l, a); err != nil {
						b.Error(err)
						return
					}
				}
			})
			if err := l.Sync(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			ownAfter, kernelAfter := processTime(b)
			b.ReportMetric(float64((ownAfter-own).Nanoseconds())/1e3/float64(b.N), "own-µs/call")
			b.ReportMetric(float64((kernelAfter-kernel).Nanoseconds())/1e3/float64(b.N), "kernel-µs/call")
		})
	}
}

// BenchmarkParts is what BenchmarkAccounting measures in its parts, for one caller
// whose leases have room: the CPU time of the call, and of what reads the spool
// for the store afterwards. Each record of the one caller is a system call of its
// own, which is the kernel's part; callers that are side by side share them.
func BenchmarkParts(b *testing.B) {
	for _, n := range []int{0, 1, 4} {
		b.Run(fmt.Sprintf("budgets=%d", n), func(b *testing.B) {
			defer debug.SetGCPercent(debug.SetGCPercent(400)) // as weir serve does
			log, _, err := spool.Open(spool.Config{Dir: b.TempDir(), Replica: "r", Incarnation: 1})
			if err != nil {
				b.Fatal(err)
			}
			c := lease.Defaults()
			c.Store, c.Replica, c.Incarnation, c.TTL = generous{}, "r", 1, 24*time.Hour
			leases, err := lease.NewHolder(c)
			if err != nil {
				b.Fatal(err)
			}
			catalogue, budgets := prices(b), book(b, benchBudgets()[:n]...)
			l := &ledger.Ledger{
				Store: nowhere{}, Leases: leases, Spool: log, Durability: spool.Relaxed, Now: time.Now, Log: slog.New(slog.DiscardHandler),
				Prices: func() *price.Catalogue { return catalogue }, Budgets: func() *lease.Book { return budgets },
			}
			a := attempt("")
			ids := make([]string, 4096) // what the spool takes before it is read
			for i := range ids {
				ids[i] = uuid.Must(uuid.NewV7()).String()
			}
			var parts [4]time.Duration
			b.ReportAllocs()
			b.ResetTimer()
			for left := b.N; left > 0; left -= len(ids) {
				own, kernel := processTime(b)
				for _, a.RequestID = range ids[:min(left, len(ids))] {
					h, err := l.Hold(b.Context(), a, tokens(10, 20), nil)
					if err == nil {
						_, err = h.Settle(b.Context(), completed(tokens(9, 9)))
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				ownThen, kernelThen := processTime(b)
				if _, err := l.Recover(b.Context()); err != nil {
					b.Fatal(err)
				}
				ownAfter, kernelAfter := processTime(b)
				for i, d := range []time.Duration{ownThen - own, kernelThen - kernel, ownAfter - ownThen, kernelAfter - kernelThen} {
					parts[i] += d
				}
			}
			b.StopTimer()
			for i, name := range []string{"call-own-µs", "call-kernel-µs", "flush-own-µs", "flush-kernel-µs"} {
				b.ReportMetric(float64(parts[i].Nanoseconds())/1e3/float64(b.N), name)
			}
			if err := log.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkHoldAndSettle is how long a call waits for its Hold and for its
// Settle, by what the durability waits for, while 32 callers are side by side
// and SQLite takes what they settle.
func BenchmarkHoldAndSettle(b *testing.B) {
	for _, mode := range []struct {
		name string
		spool.Durability
	}{{"relaxed", spool.Relaxed}, {"commit", spool.Commit}, {"store", spool.Store}} {
		b.Run(mode.name, func(b *testing.B) {
			l, a := benchLedger(b, nil), attempt("")
			l.Durability = mode.Durability
			var mu sync.Mutex
			var holds, settles []time.Duration
			b.SetParallelism(16)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				var h, s []time.Duration
				for p.Next() {
					hold, settle, err := callOnce(b.Context(), l, a)
					if err != nil {
						b.Error(err)
						return
					}
					h, s = append(h, hold), append(s, settle)
				}
				mu.Lock()
				defer mu.Unlock()
				holds, settles = append(holds, h...), append(settles, s...)
			})
			b.StopTimer()
			for name, times := range map[string][]time.Duration{"hold": holds, "settle": settles} {
				slices.Sort(times)
				b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1e3, name+"-p50-µs")
				b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds())/1e3, name+"-p99-µs")
			}
		})
	}
}
