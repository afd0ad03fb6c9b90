package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/server/store"
)

// rollingBook has one budget of requests that rolls.
func rollingBook(t *testing.T, name string, limit int64, length time.Duration) *lease.Book {
	t.Helper()
	k, err := lease.NewBook([]lease.Budget{{Name: name, Tenant: "acme", Per: lease.PerTenant, Limit: limit, Unit: accounting.UnitRequests, Window: lease.Rolling(length)}})
	must(t, err)
	return k
}

func bucketAt(k *lease.Book, at time.Time) accounting.Window {
	return *k.Windows(accounting.Subject{Tenant: "acme"}, "m", at)[0]
}

// taken is what one claim takes of its window, and from when on.
type taken struct {
	at     time.Time
	amount int64
}

// rollingModel has no stretch of time of the window's length hold more than the
// limit, whatever the order in which clocks that disagree make claims, and
// refuses only what a bucket's width more than the length has no room for.
func rollingModel(t *testing.T, open Opener) {
	s := one(t, open)
	const limit = 20
	granted, refused := 0, 0
	for round := range 12 {
		random := rand.New(rand.NewPCG(uint64(round), 1))
		length := time.Hour + time.Duration(random.IntN(5000))*time.Minute
		k := rollingBook(t, fmt.Sprint("r", round), limit, length)
		var uses []taken
		for i := range 60 {
			at := start.Add(time.Duration(random.Int64N(int64(3 * length))))
			if random.IntN(3) == 0 && len(uses) > 0 { // about a length from another
				at = uses[random.IntN(len(uses))].at.Add(length + time.Duration(random.Int64N(int64(length/20))) - length/40)
			}
			amount := 1 + random.Int64N(9)
			o := opening(fmt.Sprint("call-", round, "-", i), claim(bucketAt(k, at), amount))
			o.attempt.Start = at
			_, err := o.take(t.Context(), s)
			var exhausted *accounting.ExhaustedError
			switch {
			case errors.As(err, &exhausted):
				refused++
				if sum := amount + sumOf(uses, at.Add(-length-length/60), at.Add(100*length)); sum <= limit {
					t.Fatalf("round %d: %d at %s was refused, and with it there are %d of %d: %v", round, amount, at, sum, limit, err)
				}
				continue
			case err != nil:
				t.Fatal(err)
			}
			granted++
			if random.IntN(2) == 0 {
				amount = random.Int64N(amount + 1)
				mustSettle(t, s, o, amount)
			}
			uses = append(uses, taken{at, amount})
			for _, u := range uses {
				if sum := sumOf(uses, u.at.Add(-length), u.at); sum > limit {
					t.Fatalf("round %d: the %s before %s hold %d of %d", round, length, u.at, sum, limit)
				}
			}
		}
	}
	if granted < 100 || refused < 100 {
		t.Errorf("%d granted and %d refused: the test proves nothing", granted, refused)
	}
}

// sumOf sums what began after from and not after to.
func sumOf(uses []taken, from, to time.Time) (sum int64) {
	for _, u := range uses {
		if u.at.After(from) && !u.at.After(to) {
			sum += u.amount
		}
	}
	return sum
}

// rollingRace has replicas whose clocks disagree claim and settle at once.
func rollingRace(t *testing.T, open Opener) {
	list := replicas(t, open, 2)
	const limit = 50
	k := rollingBook(t, "r", limit, time.Hour)
	plain := window("acme/zz", 1<<40)
	var mu sync.Mutex
	var granted int64
	var refused atomic.Int64
	var group sync.WaitGroup
	for i := range 16 {
		s := list[i%len(list)]
		group.Go(func() {
			for round := range 6 {
				at := start.Add(time.Duration(i*round) * 30 * time.Second) // all within one window
				o := opening(fmt.Sprint("call-", i, "-", round), claim(plain, 1), claim(bucketAt(k, at), 3))
				_, err := o.take(t.Context(), s)
				var exhausted *accounting.ExhaustedError
				if errors.As(err, &exhausted) {
					refused.Add(1)
					continue
				}
				if err != nil {
					t.Errorf("open: %v", err)
					continue
				}
				// In full, or past the claim by one.
				used := 3 + int64(round%2)
				if err := o.settle(t.Context(), s, used); err != nil {
					t.Errorf("settle: %v", err)
				}
				mu.Lock()
				granted += used
				mu.Unlock()
			}
		})
	}
	group.Wait()
	spent, overrun := series(t, list[0], k)
	if refused.Load() == 0 || spent != granted || spent > limit+overrun {
		t.Errorf("%d refused; spent %d of %d, with an overrun of %d; %d were granted", refused.Load(), spent, limit, overrun, granted)
	}
}

// series sums the buckets of the hour from start on.
func series(t *testing.T, s *store.Store, k *lease.Book) (spent, overrun int64) {
	t.Helper()
	for at := start; at.Before(start.Add(time.Hour)); at = at.Add(time.Minute) {
		w, _, err := s.Window(t.Context(), bucketAt(k, at).ID)
		must(t, err)
		spent += w.Spent
		overrun += w.Overrun
	}
	return spent, overrun
}

func rollingOverrun(t *testing.T, open Opener) {
	s := one(t, open)
	k := rollingBook(t, "r", 10, time.Hour)
	early, late := bucketAt(k, start), bucketAt(k, start.Add(30*time.Minute))
	a, b := opening("a", claim(early, 4)), opening("b", claim(late, 4))
	mustTake(t, s, a)
	mustTake(t, s, b)
	mustSettle(t, s, a, 5) // the free room covers it
	expect(t, s, early.ID, 5, 0, 0)
	mustSettle(t, s, b, 8) // of four more, one fits
	expect(t, s, late.ID, 8, 0, 3)
	var exhausted *accounting.ExhaustedError
	if _, err := opening("full", claim(late, 1)).take(t.Context(), s); !errors.As(err, &exhausted) || exhausted.Spent != 13 {
		t.Errorf("a full window granted a claim: %v", err)
	}
	// The early bucket leaves the window; its spending goes with it.
	gone := bucketAt(k, start.Add(62*time.Minute))
	mustTake(t, s, opening("later", claim(gone, 2)))
	if _, err := opening("more", claim(gone, 1)).take(t.Context(), s); !errors.As(err, &exhausted) || exhausted.Spent != 8 || exhausted.Held != 2 {
		t.Errorf("a full window granted a claim: %v", err)
	}
	// A settle brings its bucket where nothing was leased of it.
	lost := bucketAt(k, start.Add(10*time.Hour))
	write(t, s, entry("lost", 0, lost, 1))
	expect(t, s, lost.ID, 1, 0, 0)
}
