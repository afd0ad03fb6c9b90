package route

import (
	"testing"
	"time"

	"github.com/weir-gateway/weir/server/backend"
)

func TestAHedgeGoesToAnotherTargetThatCanBeHad(t *testing.T) {
	m := model(t, Model{Name: "m", Targets: targets(3, func(i int, x *Target) { x.Priority = i })})
	try := tries(t, m, Call{})
	first := next(t, try, begin)
	resting := next(t, tries(t, m, Call{}), begin)
	if resting.Name != "t0" {
		t.Fatal(resting.Name)
	}
	// The second tier rests: the hedge passes it over.
	other := tries(t, m, Call{})
	next(t, other, begin)
	second := next(t, other, begin)
	second.Done(begin, &backend.Error{Class: backend.Overloaded, RetryAfter: time.Minute})
	hedge, ok := try.Hedge(begin)
	if !ok || hedge.Name != "t2" || first.Name != "t0" {
		t.Fatalf("the hedge of %s goes to %v, %t", first.Name, hedge.Target, ok)
	}
	if _, ok := try.Hedge(begin); ok {
		t.Error("a hedge goes to a target that wishes to be left alone")
	}
	// What is given back can be chosen again, and no other.
	try.Return(&first)
	if again, ok := try.Hedge(begin); !ok || again.Name != "t0" {
		t.Errorf("given back was t0, and chosen is %v", again.Target)
	}
}

func TestAHedgeTakesARetry(t *testing.T) {
	m := model(t, Model{Name: "m", Targets: targets(2, nil)})
	try := tries(t, m, Call{})
	next(t, try, begin)
	made := 0
	for range 100 {
		hedge, ok := try.Hedge(begin)
		if !ok {
			break
		}
		made++
		hedge.Done(begin, nil)
		try.Return(&hedge)
	}
	if made != least/aRetry {
		t.Errorf("%d hedges, want %d", made, least/aRetry)
	}
	try.Refund()
	if _, ok := try.Hedge(begin); !ok {
		t.Error("a retry that was given back is gone")
	}
}
