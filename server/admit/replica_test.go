package admit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-gateway/weir/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// book is a Store in memory, by the clock of the test.
type book struct {
	mu     sync.Mutex
	states map[string]*State
	away   atomic.Bool
	flight func() // during each, if it is set
	asked  atomic.Int64
}

var errAway = errors.New("the store is away")

func (b *book) ShareRates(ctx context.Context, ttl time.Duration, asks []Ask) ([]Answer, error) {
	if b.away.Load() {
		return nil, errAway
	}
	if b.flight != nil {
		b.flight()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked.Add(1)
	if b.states == nil {
		b.states = map[string]*State{}
	}
	var answers []Answer
	for _, a := range asks {
		if b.states[a.Scope] == nil {
			b.states[a.Scope] = &State{}
		}
		answers = append(answers, b.states[a.Scope].Ask(a, time.Now(), ttl))
	}
	return answers, nil
}

func (b *book) SweepRates(context.Context) error { return nil }

// replicas runs limiters on one store, in modelled time, until the test ends.
func replicas(t *testing.T, b *book, n int) []*Limiter {
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	var list []*Limiter
	for i := range n {
		l := NewReplica(time.Now, b, fmt.Sprint("r", i))
		go l.Run(ctx, func(error) {})
		list = append(list, l)
	}
	return list
}

func refusalOf(t *testing.T, err error) *LimitError {
	t.Helper()
	var refused *LimitError
	if !errors.As(err, &refused) {
		t.Fatalf("refused with %v", err)
	}
	return refused
}

func TestReplicasShareALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := replicas(t, &book{}, 3)
		rates := []policy.BoundRate{perMinute(6, 10)}
		admitted := 0
		for i := range 60 {
			if _, err := list[i%3].Admit(t.Context(), k1, rates, Estimate{}); err == nil {
				admitted++
			}
		}
		if admitted != 10 {
			t.Errorf("admitted are %d calls where 10 may come at once", admitted)
		}
	})
}

func TestARefusalOfAReplicaIsTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := replicas(t, &book{}, 1)[0]
		rates := []policy.BoundRate{perMinute(6, 3)}
		for range 3 {
			if _, err := l.Admit(t.Context(), k1, rates, Estimate{}); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 {
			_, err := l.Admit(t.Context(), k1, rates, Estimate{})
			refused := refusalOf(t, err)
			if refused.Rate == nil || refused.Rate.Limit != 3 || refused.Rate.Remaining != 0 || refused.Away {
				t.Errorf("%+v", refused)
			}
			time.Sleep(refused.RetryAfter - time.Millisecond)
			if _, err := l.Admit(t.Context(), k1, rates, Estimate{}); err == nil {
				t.Error("there was a place before the time that was told")
			}
			time.Sleep(time.Millisecond)
			if _, err := l.Admit(t.Context(), k1, rates, Estimate{}); err != nil {
				t.Errorf("there was no place at the time that was told: %v", err)
			}
		}
	})
}

// A call waits for the store only where its share is empty.
func TestAShareIsAdmittedFromWithoutTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		l := replicas(t, b, 1)[0]
		rates := []policy.BoundRate{perMinute(6000, 6000)}
		for range 1000 {
			if _, err := l.Admit(t.Context(), k1, rates, Estimate{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := b.asked.Load(); n > 50 {
			t.Errorf("the store was asked %d times for 1000 calls", n)
		}
		b.away.Store(true)
		for range 100 {
			if _, err := l.Admit(t.Context(), k1, rates, Estimate{}); err != nil {
				t.Fatalf("the share lasts longer than that: %v", err)
			}
		}
	})
}

func TestWhileTheStoreIsAwayTheShareIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		l := replicas(t, b, 1)[0]
		rates := []policy.BoundRate{perMinute(600, 60)}
		admitted := 0
		call := func() error {
			_, err := l.Admit(t.Context(), k1, rates, Estimate{})
			if err == nil {
				admitted++
			}
			return err
		}
		for range 20 {
			if err := call(); err != nil {
				t.Fatal(err)
			}
		}
		b.away.Store(true)
		var err error
		for err == nil {
			err = call()
		}
		refused := refusalOf(t, err)
		if admitted > 60 || !refused.Away || refused.RetryAfter <= 0 {
			t.Errorf("admitted are %d; %v", admitted, err)
		}
		b.away.Store(false)
		time.Sleep(refused.RetryAfter)
		if err := call(); err != nil {
			t.Errorf("there was no place at the time that was told: %v", err)
		}
	})
}

func TestWhatHasEndedAdmitsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewReplica(time.Now, &book{}, "r")
		rates := []policy.BoundRate{perMinute(600, 60), atOnce(5)}
		give := func() { // what Run does, without its ticks: a process that was stopped
			for l.ask(t.Context(), func(err error) { t.Error(err) }) {
			}
		}
		if _, flight, _ := l.try(k1, rates, Estimate{}); flight == nil {
			t.Fatal("the first call did not wait for the store")
		}
		give()
		leave, flight, err := l.try(k1, rates, Estimate{})
		if flight != nil || err != nil {
			t.Fatal("there is no place after the store has answered")
		}
		leave(0)
		if leave, flight, _ := l.try(k1, rates[1:], Estimate{}); flight != nil {
			t.Fatal("a place that is free again is not there")
		} else {
			leave(0)
		}
		time.Sleep(TTL - Skew)
		if _, flight, _ := l.try(k1, rates[1:], Estimate{}); flight == nil {
			t.Error("a share that has ended admits a call")
		}
	})
}

func TestTheSlotsOfADeadReplicaComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		rates := []policy.BoundRate{atOnce(4)}
		dead, stop := context.WithCancel(t.Context())
		l := NewReplica(time.Now, b, "dead")
		go l.Run(dead, func(error) {})
		for range 4 {
			if _, err := l.Admit(t.Context(), k1, rates, Estimate{}); err != nil {
				t.Fatal(err)
			}
		}
		other := replicas(t, b, 1)[0]
		time.Sleep(2 * TTL) // they are renewed as long as their calls run
		if _, err := other.Admit(t.Context(), k1, rates, Estimate{}); err == nil {
			t.Fatal("a fifth call runs")
		}
		stop()
		time.Sleep(TTL)
		for range 4 {
			if _, err := other.Admit(t.Context(), k1, rates, Estimate{}); err != nil {
				t.Errorf("a place of the dead replica is lost: %v", err)
			}
		}
	})
}

func TestIdleSharesGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		list := replicas(t, b, 2)
		rates := []policy.BoundRate{perMinute(6, 60), atOnce(8)}
		for range 30 {
			leave, err := list[0].Admit(t.Context(), k1, rates, Estimate{})
			if err != nil {
				t.Fatal(err)
			}
			leave(0)
		}
		time.Sleep(10 * time.Second)
		admitted := 0
		for {
			if _, err := list[1].Admit(t.Context(), k1, rates[:1], Estimate{}); err != nil {
				break
			}
			admitted++
		}
		if admitted < 30 {
			t.Errorf("the other replica gets %d of the 30 that are left", admitted)
		}
		for range 8 {
			if _, err := list[1].Admit(t.Context(), k1, rates[1:], Estimate{}); err != nil {
				t.Fatalf("the other replica does not get all places to run: %v", err)
			}
		}
	})
}

func TestCloseGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		list := replicas(t, b, 2)
		rates := []policy.BoundRate{perMinute(1, 40)}
		for range 20 {
			if _, err := list[0].Admit(t.Context(), k1, rates, Estimate{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := list[0].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := list[1].Admit(t.Context(), k1, rates, Estimate{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A caller who goes does not wait for a store that hangs.
func TestACallWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		b := &book{flight: func() { <-hang }}
		defer close(hang)
		l := replicas(t, b, 1)[0]
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Admit(ctx, k1, []policy.BoundRate{perMinute(1, 1)}, Estimate{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestManyCallsOfManyReplicasAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		list := replicas(t, b, 3)
		rates := []policy.BoundRate{perMinute(1, 50), atOnce(20)}
		var admitted, running atomic.Int64
		var calls sync.WaitGroup
		for i := range 300 {
			calls.Go(func() {
				leave, err := list[i%3].Admit(t.Context(), k1, rates, Estimate{})
				if err != nil {
					return
				}
				admitted.Add(1)
				if running.Add(1) > 20 {
					t.Error("more than 20 calls run")
				}
				time.Sleep(time.Millisecond)
				running.Add(-1)
				leave(0)
			})
		}
		calls.Wait()
		if n := admitted.Load(); n > 50 || n == 0 {
			t.Errorf("admitted are %d calls where 50 may come at once", n)
		}
	})
}

func TestNoTwoPlacesShareAScope(t *testing.T) {
	a := place{tenant: "a/b", policy: "c", rule: "r"}
	b := place{tenant: "a", policy: "b/c", rule: "r"}
	if a.scope(0) == b.scope(0) || a.scope(0) == a.scope(1) {
		t.Error("two limits have one scope")
	}
	long := place{value: string(make([]byte, 10_000))}
	if n := len(long.scope(0)); n > 1000 {
		t.Errorf("a scope has %d bytes", n)
	}
}
