package lease

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-gateway/weir/accounting"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A bench is one holder on a store whose answers a test can steer, with a clock
// that only the test moves.
type bench struct {
	*modelRig
	t      *testing.T
	holder *Holder
	down   error
	asked  int // grants that were asked for
}

func (b *bench) Grant(ctx context.Context, ttl time.Duration, wants []Want) ([]Grant, error) {
	b.asked++
	if b.down != nil {
		return nil, b.down
	}
	return b.modelRig.Grant(ctx, ttl, wants)
}

func (b *bench) Return(ctx context.Context, returns []Return) error {
	if b.down != nil {
		return b.down
	}
	return b.modelRig.Return(ctx, returns)
}

func newBench(t *testing.T, change func(*Config)) *bench {
	b := &bench{modelRig: newModelRig(), t: t}
	b.holder = b.another("r", 1, change)
	return b
}

func (b *bench) another(replica string, incarnation int64, change func(*Config)) *Holder {
	b.t.Helper()
	c := Defaults()
	c.Store, c.Replica, c.Incarnation = b, replica, incarnation
	c.Now = func() time.Time { return b.at }
	if change != nil {
		change(&c)
	}
	h, err := NewHolder(c)
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

func (b *bench) take(amount int64, windows ...accounting.Window) (*Hold, error) {
	var hold Hold
	var claims []accounting.Claim
	for _, w := range windows {
		claims = append(claims, accounting.Claim{Window: &w, Amount: amount})
	}
	err := b.holder.Take(context.Background(), &hold, claims)
	return &hold, err
}

func (b *bench) mustTake(amount int64, windows ...accounting.Window) *Hold {
	b.t.Helper()
	hold, err := b.take(amount, windows...)
	if err != nil {
		b.t.Fatal(err)
	}
	return hold
}

func (b *bench) tick(d time.Duration) {
	b.t.Helper()
	b.later(d)
	if err := b.holder.Tick(context.Background()); err != nil && b.down == nil {
		b.t.Fatal(err)
	}
}

func (b *bench) end(hold *Hold, line string, window accounting.Window, used int64) {
	b.t.Helper()
	settlements := hold.Settle([]int64{used}, nil)
	if _, err := b.settle(line, []accounting.Window{window}, settlements); err != nil {
		b.t.Fatal(err)
	}
	hold.End()
}

func capWindow(name string, limit int64) accounting.Window {
	w := contractWindow(limit)
	w.ID = "acme/" + name + "/tenant/2026-07"
	return w
}

func TestTakeAsksOnceAndThenOnlyWhatItLacks(t *testing.T) {
	b := newBench(t, nil)
	w := capWindow("cap", 1000)
	for i := range 5 {
		b.end(b.mustTake(10, w), fmt.Sprint(i), w, 0)
	}
	if b.asked != 1 {
		t.Errorf("five holds, one after the other, asked %d times", b.asked)
	}
	first := b.mustTake(10, w)
	b.mustTake(25, w)
	if b.asked != 2 {
		t.Errorf("a hold beside another asked %d times; want 2", b.asked)
	}
	balance(t, b, w, Balance{Leased: 35})
	first.End()
	first.End()
	if b.mustTake(10, w); b.asked != 2 {
		t.Error("what an ended hold gave back was not held again")
	}
}

func TestNearTheLimitEachHoldAsksForExactlyWhatItNeeds(t *testing.T) {
	b := newBench(t, nil)
	w := capWindow("cap", 100)
	holds := []*Hold{}
	for range 10 {
		holds = append(holds, b.mustTake(10, w))
	}
	balance(t, b, w, Balance{Leased: 100})
	holds[0].End()
	_, err := b.take(11, w)
	var exhausted *accounting.ExhaustedError
	if !errors.As(err, &exhausted) || exhausted.Held != 90 || exhausted.Claim.Amount != 11 || *exhausted.Claim.Window != w {
		t.Fatalf("a hold past the limit: %v", err)
	}
	// Its fragment of ten is back, and another replica can have it.
	balance(t, b, w, Balance{Leased: 90})
	var hold Hold
	if err := b.another("s", 1, nil).Take(context.Background(), &hold, []accounting.Claim{{Window: &w, Amount: 10}}); err != nil {
		t.Error(err)
	}
}

func TestAHoldIsAllOrNothing(t *testing.T) {
	b := newBench(t, nil)
	one, two := capWindow("one", 100), capWindow("two", 5)
	if hold, err := b.take(10, one, two); err == nil || len(hold.parts) != 0 {
		t.Fatalf("a hold without room in one of two windows: %v, %v", hold, err)
	}
	b.mustTake(100, one)
	if _, err := b.take(1, one, one, two); err == nil || !strings.Contains(err.Error(), "claimed twice") {
		t.Errorf("a window that is claimed twice: %v", err)
	}
	for _, amount := range []int64{-1, most + 1} {
		if _, err := b.take(amount, two); err == nil {
			t.Errorf("%d was held", amount)
		}
	}
	b.mustTake(5, two)
}

func TestATopUpGrowsAHoldOrLeavesItAsItWas(t *testing.T) {
	b := newBench(t, nil)
	one, two := capWindow("one", 100), capWindow("two", 15)
	hold := b.mustTake(10, one, two)
	if err := hold.TopUp(context.Background(), []int64{20, 5}); err != nil {
		t.Fatal(err)
	}
	var exhausted *accounting.ExhaustedError
	if err := hold.TopUp(context.Background(), []int64{5, 1}); !errors.As(err, &exhausted) || exhausted.Claim.Window.ID != two.ID {
		t.Fatalf("a top-up without room: %v", err)
	}
	for i, want := range []int64{30, 15} {
		if _, got := hold.Backing(i); got != want {
			t.Errorf("part %d holds %d; want %d", i, got, want)
		}
	}
	if err := hold.TopUp(context.Background(), []int64{1}); err == nil {
		t.Error("a top-up of one of two windows")
	}
	if err := hold.TopUp(context.Background(), []int64{-1, 0}); err == nil {
		t.Error("a top-up by less than nothing")
	}
	settlements := hold.Settle([]int64{30, 18}, nil)
	if settlements[0].Uncovered != 0 || settlements[1].Uncovered != 3 {
		t.Errorf("settlements %+v", settlements)
	}
	hold.End()
	if again := hold.Settle([]int64{1, 1}, nil); len(again) != 0 {
		t.Errorf("an ended hold settles %+v", again)
	}
}

func TestASettleBeyondItsHoldTakesOfItsLeaseFirst(t *testing.T) {
	b := newBench(t, nil)
	w := capWindow("cap", 100)
	first, second := b.mustTake(40, w), b.mustTake(40, w)
	first.End() // 40 are free
	settlements := second.Settle([]int64{90}, nil)
	if s := settlements[0]; s.Amount != 90 || s.Uncovered != 10 {
		t.Fatalf("settlement %+v", s)
	}
	// Until End the last one counts.
	if s := second.Settle([]int64{60}, nil)[0]; s.Amount != 60 || s.Uncovered != 0 {
		t.Fatalf("settlement %+v", s)
	}
	b.end(second, "l", w, 60)
	balance(t, b, w, Balance{Spent: 60, Leased: 20})
	b.mustTake(20, w)
	if b.asked != 2 {
		t.Errorf("%d grants were asked for; want 2", b.asked)
	}
}

// What comes free in a lease that was overdrawn is spent already.
func TestAnOverdrawnLeasePaysBeforeItIsHeldAgain(t *testing.T) {
	b := newBench(t, nil)
	w := capWindow("cap", 100)
	for _, free := range []func(h *Hold){
		(*Hold).End,
		func(h *Hold) { h.Shrink([]int64{40}) },
	} {
		first, second := b.mustTake(40, w), b.mustTake(40, w)
		b.end(second, w.ID, w, 80)
		free(first)
		var exhausted *accounting.ExhaustedError
		if _, err := b.take(30, w); !errors.As(err, &exhausted) || exhausted.Spent != 80 || exhausted.Held != 0 {
			t.Fatalf("30 after 80 of 100 are spent: %v", err)
		}
		b.mustTake(20, w).End()
		first.End()
		if err := b.holder.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		balance(t, b, w, Balance{Spent: 80, Leased: 0, Overrun: 20})
		w = capWindow("another", 100)
	}
}

func TestALeaseIsRenewedWhileHoldsAreOpenAndReturnedWhenIdle(t *testing.T) {
	b := newBench(t, nil)
	w := capWindow("cap", 100)
	hold := b.mustTake(10, w)
	for range 20 {
		b.tick(4 * time.Second)
	}
	if l := b.leases[id("r", 1, 1)]; l.state != Live || b.asked < 5 || b.asked > 8 {
		t.Fatalf("after 80 s with an open hold the lease is %+v, and %d grants were asked for", l, b.asked)
	}
	b.end(hold, "l", w, 4)
	b.tick(time.Second)
	b.tick(6 * time.Second)
	balance(t, b, w, Balance{Spent: 4})
	if l := b.leases[id("r", 1, 1)]; l.state != Closed || len(b.holder.all()) != 0 {
		t.Fatalf("an idle lease is %+v, and %d windows are remembered", l, len(b.holder.all()))
	}
	b.mustTake(10, w)
	balance(t, b, w, Balance{Spent: 4, Leased: 10})
}

func TestASliceFollowsThePaceAndShrinksWithIt(t *testing.T) {
	b := newBench(t, nil)
	w := capWindow("cap", 1_000_000)
	line := 0
	call := func() {
		line++
		b.end(b.mustTake(10, w), fmt.Sprint(line), w, 10)
	}
	for range 60 {
		for range 10 {
			call()
		}
		b.tick(time.Second)
	}
	asked := b.asked
	for range 50 { // five seconds of that pace
		call()
	}
	if b.asked != asked {
		t.Errorf("a steady pace asked %d times more on its way", b.asked-asked)
	}
	// 100 a second, and 15 s from one renewal to the next.
	if free := b.row(w.ID).Leased; free < 1500 || free > 4500 {
		t.Errorf("%d are leased; want about 4500 and not below 1500", free)
	}
	hold := b.mustTake(10, w)
	for range 30 {
		b.tick(3 * time.Second)
	}
	if leased := b.row(w.ID).Leased; leased > 20 {
		t.Errorf("after a slow minute %d are leased for one hold of 10", leased)
	}
	hold.End()
}

func TestAWindowThatWakesUpAsksForTwiceAsMuchEachTime(t *testing.T) {
	b := newBench(t, nil)
	w := capWindow("cap", 1_000_000)
	for i := range 1000 { // before the first tick
		b.end(b.mustTake(10, w), fmt.Sprint(i), w, 10)
	}
	if b.asked > 12 {
		t.Errorf("1000 holds asked %d times", b.asked)
	}
	if leased := b.row(w.ID).Leased; leased > 10_000 {
		t.Errorf("%d are leased ahead, more than was ever used", leased)
	}
}

func TestScopesWithManyMembersKeepNoMoreThanTheyHold(t *testing.T) {
	for _, scope := range []string{"end_user/u", "session/s"} {
		b := newBench(t, nil)
		w := capWindow("cap", 1000)
		w.Scope = scope
		one, two := b.mustTake(10, w), b.mustTake(10, w)
		one.End()
		b.tick(time.Millisecond)
		balance(t, b, w, Balance{Leased: 10})
		two.End()
		b.tick(time.Millisecond)
		balance(t, b, w, Balance{})
		if n := len(b.holder.all()); n != 0 {
			t.Errorf("%d windows of %s are remembered", n, scope)
		}
	}
}

func TestWindowsThatHaveEndedAreForgotten(t *testing.T) {
	b := newBench(t, nil)
	w := capWindow("cap", 1000)
	w.End = simEpoch.Add(time.Minute)
	hold := b.mustTake(10, w)
	b.mustTake(90, w).End()
	for range 8 {
		b.tick(10 * time.Second)
	}
	balance(t, b, w, Balance{Leased: 10}) // a hold belongs to its window to its end
	if err := hold.TopUp(context.Background(), []int64{5}); err != nil {
		t.Error(err)
	}
	b.end(hold, "l", w, 15)
	b.tick(time.Second)
	if n := len(b.holder.all()); n != 0 {
		t.Errorf("%d windows are remembered", n)
	}
	balance(t, b, w, Balance{Spent: 15})
}

func TestALoweredLimitIsInForceAtOnce(t *testing.T) {
	b := newBench(t, nil)
	w := capWindow("cap", 1000)
	b.mustTake(400, w).End()
	hold := b.mustTake(100, w)
	w.Limit = 150
	if _, err := b.take(60, w); err == nil {
		t.Error("a slice was used past a lowered limit")
	}
	b.mustTake(50, w)
	balance(t, b, w, Balance{Leased: 150})
	w.Limit = 1000
	b.mustTake(800, w)
	hold.End()
}

func TestWithoutTheStoreSlicesLastUntilTheyAreEmptyOrExpired(t *testing.T) {
	down := errors.New("connection refused")
	for _, soft := range []bool{false, true} {
		b := newBench(t, func(c *Config) { c.Soft = func(accounting.Window) bool { return soft } })
		w := capWindow("cap", 1000)
		b.mustTake(20, w).End()
		b.down = down
		b.later(27 * time.Second)
		hold := b.mustTake(15, w)
		check := func(why string) {
			t.Helper()
			passed, err := b.take(10, w)
			switch {
			case !soft && (!errors.Is(err, ErrUnavailable) || !errors.Is(err, down)):
				t.Errorf("hard, %s: %v", why, err)
			case soft && (err != nil || !passed.Unbacked()):
				t.Errorf("soft, %s: %v", why, err)
			case soft:
				if id, backed := passed.Backing(0); id != (ID{}) || backed != 0 {
					t.Errorf("soft, %s: lease %s backs %d", why, id, backed)
				}
				if s := passed.Settle([]int64{7}, nil)[0]; s != (Settlement{Window: w.ID, Amount: 7, Uncovered: 7}) {
					t.Errorf("soft, %s: %+v", why, s)
				}
				if err := passed.TopUp(context.Background(), []int64{5}); err != nil {
					t.Errorf("soft, %s: %v", why, err)
				}
				passed.End()
			}
		}
		check("empty")
		hold.End()
		b.later(2 * time.Second) // TTL - skew is over
		check("expired")
		b.down = nil
		if hold := b.mustTake(10, w); hold.Unbacked() {
			t.Error("the store is back, and the hold is unbacked")
		}
	}
}

// A budget in shadow refuses nothing, whether the store can be asked or not, and
// is no way around another one that is enforced.
func TestWithoutTheStoreABudgetInShadowLetsPass(t *testing.T) {
	b := newBench(t, nil)
	w, enforced := capWindow("tried", 100), capWindow("cap", 100)
	w.Shadow = true
	b.down = errors.New("connection refused")
	hold, err := b.take(10, w)
	if err != nil || !hold.Unbacked() {
		t.Fatalf("refused: %v", err)
	}
	told := hold.Excesses()
	if want := (accounting.Excess{Window: w, Amount: 10, Shadow: true, Unheld: true}); len(told) != 1 || told[0] != want {
		t.Errorf("told of %+v", told)
	}
	hold.End()
	if _, err := b.take(10, w, enforced); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a budget that is enforced: %v", err)
	}
}

func TestACallWhoseLeaseWasForfeitedCannotGrowAndStillSettles(t *testing.T) {
	b := newBench(t, nil)
	w := capWindow("cap", 1000)
	hold := b.mustTake(30, w)
	b.down = errors.New("partitioned")
	b.tick(time.Minute)
	b.down = nil
	if l := b.leases[id("r", 1, 1)]; l.state != Forfeited {
		t.Fatalf("lease %+v", l)
	}
	b.tick(time.Second) // it hears of it
	if err := hold.TopUp(context.Background(), []int64{1}); !errors.Is(err, ErrCut) {
		t.Fatalf("a top-up from a lost lease: %v", err)
	}
	if err := hold.TopUp(context.Background(), []int64{0}); err != nil {
		t.Errorf("a top-up by nothing: %v", err)
	}
	next := b.mustTake(5, w)
	balance(t, b, w, Balance{Leased: 35})
	b.end(hold, "l", w, 20)
	next.End()
	if err := b.holder.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	balance(t, b, w, Balance{Spent: 20})
}

func TestANewerProcessFencesTheOlder(t *testing.T) {
	b := newBench(t, nil)
	w := capWindow("cap", 1000)
	b.mustTake(30, w).End()
	var hold Hold
	if err := b.another("r", 2, nil).Take(context.Background(), &hold, []accounting.Claim{{Window: &w, Amount: 1}}); err != nil {
		t.Fatal(err)
	}
	var fenced *FencedError
	if _, err := b.take(40, w); !errors.As(err, &fenced) || fenced.Incarnation != 2 {
		t.Fatalf("a grant to the older: %v", err)
	}
	if _, err := b.take(10, w); !errors.As(err, &fenced) {
		t.Errorf("the older takes of what it has: %v", err)
	}
	if err := b.holder.Close(context.Background()); err != nil {
		t.Errorf("the older gives back what it has: %v", err)
	}
	balance(t, b, w, Balance{Leased: 1})
}

func TestTotalsStayInTheirBits(t *testing.T) {
	b := newBench(t, nil)
	w := capWindow("cap", 1<<62)
	for range 8 {
		b.mustTake(most, w).End()
		b.holder.all()[0].current.Load().release(most)
		b.tick(time.Millisecond)
		balance(t, b, w, Balance{})
	}
	if n := b.holder.number.Load(); n < 3 {
		t.Errorf("%d leases were granted eight times the most", n)
	}
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"store":       func(c *Config) { c.Store = nil },
		"name":        func(c *Config) { c.Replica = "" },
		"incarnation": func(c *Config) { c.Incarnation = 0 },
		"renewed":     func(c *Config) { c.Skew = c.TTL / 2 },
		"timeout":     func(c *Config) { c.Timeout = 0 },
	} {
		c := Defaults()
		c.Store, c.Replica, c.Incarnation = newModelRig(), "r", 1
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
