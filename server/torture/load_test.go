//go:build torture

package torture

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/weir-gateway/weir/accounting"
)

// TestTheClassic has 1,000 callers rush on a budget that has room for 50. The
// price is on the output alone, so a hold is exactly what a call then costs.
func TestTheClassic(t *testing.T) {
	for _, replicas := range []int{1, 3} {
		t.Run(fmt.Sprintf("replicas=%d", replicas), func(t *testing.T) {
			t.Parallel()
			f := startFleet(t, replicas, "commit", fmt.Sprintf(tenant, "lively", "input: 0, output: 1000")+`
kind: Budget
name: cap
tenant: acme
limit: 5 USD
window: total
`)
			const calls, each = 1000, 100 // tokens of 0.001 USD
			all := make([]*told, calls)
			var rush sync.WaitGroup
			var again atomic.Int64
			for i := range all {
				rush.Go(func() {
					c := call{id: fmt.Sprint("classic-", i), model: "lively", words: 2 * each, most: each, stream: i%2 == 0}
					all[i] = f.makeAgain(f.replicas[i%replicas], c, &again)
				})
			}
			rush.Wait()
			won, refused := 0, 0
			for _, h := range all {
				switch {
				case h.ok && h.nanos == 100_000_000:
					won++
				case !h.ok && h.code() == codes.ResourceExhausted && h.exhausted() == "tenants/acme/budgets/cap":
					refused++
				default:
					t.Errorf("call %s: %v: %+v", h.id, h.err, h)
				}
			}
			f.settle()
			b := f.read(all)
			spent := int64(0)
			for _, l := range b.lines {
				spent += l.charge
			}
			whole := 0
			for _, s := range b.served {
				whole += int(s.Whole)
			}
			b.room()
			t.Logf("%d of %d calls had room, %d were refused, %d times a call came again, the backend was asked %d times and served %d; spent %d nanos", won, calls, refused, again.Load(), len(b.served), whole, spent)
			if won > 50 || won < 49 || won+refused != calls || len(b.served) != won || whole != won || spent != int64(won)*100_000_000 {
				t.Error("49 or 50 calls were to succeed, and the rest to be refused")
			}
		})
	}
}

var needs = regexp.MustCompile(`this call needs up to (\S+) USD`)

// A starving crowd are 32 callers who share a budget of 2,000 typical calls and
// ask for ten times the tokens that they get. More is written into the budget.
func starve(t *testing.T, more string) (f *fleet, callers *crowd, limit int64) {
	if testing.Short() {
		t.Skip("it takes a whole budget to measure")
	}
	const (
		typical = 50 // tokens out, on average
		calls   = 2000
		most    = 10 * typical
		input   = 7 + 3 + typical // of the typical prompt
	)
	money := accounting.Money{Nanos: calls * (input*nanosIn + typical*nanosOut), Currency: "USD"}
	budget := "\nkind: Budget\nname: cap\ntenant: acme\nlimit: " + money.String() + "\nwindow: total\n" + more
	f = startFleet(t, 1, "commit", fmt.Sprintf(tenant, "lively", "input: 0.50, output: 1.50")+budget)
	callers = f.gather(32, chooseSeed(t), func(chance *rand.Rand, number int) call {
		return call{model: "lively", words: typical/2 + chance.IntN(typical+1), most: most, stream: number%2 == 0}
	})
	return f, callers, money.Nanos
}

// holdsUp has the crowd go home and compares all accounts.
func (f *fleet) holdsUp(t *testing.T, callers *crowd) {
	all := callers.disperse()
	f.settle()
	if missing, nanos := f.read(all).check(); missing > 0 || nanos > 0 {
		t.Errorf("%d calls are missing, for %d nanos", missing, nanos)
	}
}

// TestStarvation tells what worst-case holds cost near the end of a budget.
func TestStarvation(t *testing.T) {
	f, callers, limit := starve(t, "")
	bands := []int64{50, 60, 70, 80, 85, 90, 95} // hundredths of the budget
	granted, refused := make([]int, len(bands)), make([]int, len(bands))
	var spent, held, holds, oks int64
	callers.until(t, func(h *told) bool {
		band := -1
		for i, from := range bands {
			if spent*100 >= limit*from {
				band = i
			}
		}
		if band == len(bands)-1 {
			return true
		}
		if h.ok {
			spent, oks = spent+h.nanos, oks+1
		}
		if band < 0 {
			return false
		}
		if h.ok {
			granted[band]++
		} else if h.exhausted() != "" {
			refused[band]++
			if m := needs.FindStringSubmatch(h.err.Error()); m != nil {
				amount, err := accounting.ParseMoney(m[1], "USD")
				if err != nil {
					t.Error(err)
				}
				held, holds = held+amount.Nanos, holds+1
			}
		} else {
			t.Errorf("call %s: %v", h.id, h.err)
		}
		return false
	})
	f.holdsUp(t, callers)
	total, no := 0, 0
	for i := range len(bands) - 1 {
		n := granted[i] + refused[i]
		total, no = total+n, no+refused[i]
		t.Logf("from %d to %d %% of the budget: %d of %d calls were refused (%.1f %%)", bands[i], bands[i+1], refused[i], n, 100*float64(refused[i])/float64(max(n, 1)))
	}
	t.Logf("from 50 to 95 %%: %d of %d calls were refused (%.1f %%); a hold was %.2f times what a call cost",
		no, total, 100*float64(no)/float64(total), float64(held)/float64(max(holds, 1))/(float64(spent)/float64(oks)))
	if no == 0 {
		t.Error("nobody was refused, so nothing was measured")
	}
}

// TestCutUsesTheBudget has the same crowd at a budget that cuts: nobody is
// refused, and nobody is cut, before 97 % of it is used.
func TestCutUsesTheBudget(t *testing.T) {
	f, callers, limit := starve(t, "cut: true\n")
	var spent, firstCut int64
	oks, cuts := 0, 0
	callers.until(t, func(h *told) bool {
		switch {
		case h.ok:
			if h.cut {
				if cuts++; firstCut == 0 {
					firstCut = spent
				}
			}
			spent, oks = spent+h.nanos, oks+1
		case h.exhausted() != "":
			return true
		default:
			t.Errorf("call %s: %v", h.id, h.err)
		}
		return false
	})
	f.holdsUp(t, callers)
	t.Logf("%.2f %% of the budget was used by %d calls when the first was refused, and %d had been cut, the first at %.2f %%",
		100*float64(spent)/float64(limit), oks, cuts, 100*float64(firstCut)/float64(limit))
	if spent*100 < 97*limit {
		t.Error("a call was refused before 97 % of the budget was used")
	}
	if firstCut > 0 && firstCut*100 < 97*limit {
		t.Error("an answer was cut before 97 % of the budget was used")
	}
}
