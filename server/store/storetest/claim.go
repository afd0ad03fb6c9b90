package storetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/idempotency"
	"github.com/weir-gateway/weir/server/store"
)

// claimOf is the claim of a call that asks for something under a key, of the
// first process of a replica.
func claimOf(key, asks, requestID, replica string, busy time.Duration) idempotency.Claim {
	k := idempotency.NewKey("acme", "default", key)
	return idempotency.Claim{ID: k.ID, Asks: k.Mark([]byte(asks)), RequestID: requestID, Replica: replica, Incarnation: 1, Busy: busy, Keep: idempotency.Lifetime}
}

func claimKey(t *testing.T, s *store.Store, c idempotency.Claim) idempotency.Standing {
	t.Helper()
	found, err := s.ClaimKey(t.Context(), c)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	return found
}

func wantStanding(t *testing.T, got idempotency.Standing, state idempotency.State, requestID, answer string) {
	t.Helper()
	if got.State != state || got.RequestID != requestID || string(got.Answer) != answer || (got.Answer == nil) != (answer == "") {
		t.Errorf("the claim meets %d of %q with %q, not %d of %q with %q", got.State, got.RequestID, got.Answer, state, requestID, answer)
	}
}

// claimMeets is what each claim meets of a key.
func claimMeets(t *testing.T, open Opener) {
	s := one(t, open)
	first := claimOf("k", "this", "call-1", "r", time.Minute)
	wantStanding(t, claimKey(t, s, first), idempotency.Granted, "call-1", "")
	wantStanding(t, claimKey(t, s, first), idempotency.Granted, "call-1", "") // its answer was lost
	wantStanding(t, claimKey(t, s, claimOf("k", "this", "call-2", "r", time.Minute)), idempotency.Running, "call-1", "")
	wantStanding(t, claimKey(t, s, claimOf("k", "that", "call-2", "r", time.Minute)), idempotency.Other, "call-1", "")
	wantStanding(t, claimKey(t, s, claimOf("other", "that", "call-3", "r", time.Minute)), idempotency.Granted, "call-3", "")

	must(t, s.ReleaseKey(t.Context(), first.ID, "call-2")) // not its own
	must(t, s.AnswerKey(t.Context(), first.ID, "call-2", []byte("wrong")))
	wantStanding(t, claimKey(t, s, claimOf("k", "this", "call-4", "r", time.Minute)), idempotency.Running, "call-1", "")
	must(t, s.AnswerKey(t.Context(), first.ID, "call-1", []byte("sealed")))
	must(t, s.ReleaseKey(t.Context(), first.ID, "call-1")) // what is answered is not released
	wantStanding(t, claimKey(t, s, claimOf("k", "this", "call-4", "r", time.Minute)), idempotency.Answered, "call-1", "sealed")
	wantStanding(t, claimKey(t, s, claimOf("k", "that", "call-4", "r", time.Minute)), idempotency.Other, "call-1", "")

	must(t, s.AnswerKey(t.Context(), claimOf("other", "", "", "", 0).ID, "call-3", nil))
	wantStanding(t, claimKey(t, s, claimOf("other", "that", "call-5", "r", time.Minute)), idempotency.Answered, "call-3", "")

	failed := claimOf("failed", "this", "call-6", "r", time.Minute)
	claimKey(t, s, failed)
	must(t, s.ReleaseKey(t.Context(), failed.ID, "call-6"))
	wantStanding(t, claimKey(t, s, claimOf("failed", "that", "call-7", "r", time.Minute)), idempotency.Granted, "call-7", "")
}

// claimTakenOver is claims whose process cannot say any more what became of
// them.
func claimTakenOver(t *testing.T, open Opener) {
	s := one(t, open)
	taken := func(name string, outcome accounting.Outcome, answered bool) {
		t.Helper()
		for how, busy := range map[string]time.Duration{"fenced": time.Hour, "over": 0} {
			first, replica := name+"-"+how, name+how
			claimKey(t, s, claimOf(first, "this", first, replica, busy))
			if busy > 0 {
				wantStanding(t, claimKey(t, s, claimOf(first, "this", "again", replica, busy)), idempotency.Running, first, "")
				must(t, s.Release(t.Context(), replica, 1)) // the process itself says that it lives
				wantStanding(t, claimKey(t, s, claimOf(first, "this", "again", replica, busy)), idempotency.Running, first, "")
			}
			if outcome != "" {
				l := line(first, 0)
				l.Outcome = outcome
				must(t, s.Write(t.Context(), []ledger.Entry{{Line: l}}))
			}
			if busy > 0 {
				must(t, s.Release(t.Context(), replica, 2))
			}
			got := claimKey(t, s, claimOf(first, "this", "again-"+first, "next", time.Hour))
			if answered {
				wantStanding(t, got, idempotency.Answered, first, "")
				continue
			}
			wantStanding(t, got, idempotency.Granted, "again-"+first, "")
			must(t, s.AnswerKey(t.Context(), claimOf(first, "", "", "", 0).ID, first, []byte("too late")))
			wantStanding(t, claimKey(t, s, claimOf(first, "this", "third", "next", time.Hour)), idempotency.Running, "again-"+first, "")
		}
	}
	taken("no line", "", false)
	taken("in doubt", accounting.OutcomeInDoubt, false)
	taken("cancelled", accounting.OutcomeCancelled, false)
	taken("completed", accounting.OutcomeCompleted, true)
	taken("blocked", accounting.OutcomeBlocked, true)
	taken("cut", accounting.OutcomeCut, true)
	taken("a hit of the cache", accounting.OutcomeCacheHit, true)
}

// manyClaims is many calls with one key, over replicas: one runs at a time.
func manyClaims(t *testing.T, open Opener) {
	list := replicas(t, open, 3)
	var running sync.WaitGroup
	var inside, granted, answered atomic.Int64
	for r := range 12 {
		s := list[r%len(list)]
		running.Go(func() {
			for try := 0; ; try++ {
				c := claimOf("k", "this", fmt.Sprintf("call-%d-%d", r, try), fmt.Sprint("r", r), time.Hour)
				found, err := s.ClaimKey(context.Background(), c)
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				switch found.State {
				case idempotency.Answered:
					answered.Add(1)
					return
				case idempotency.Granted:
					if n := inside.Add(1); n != 1 {
						t.Errorf("%d calls run with one key", n)
					}
					n := granted.Add(1)
					inside.Add(-1)
					if n < 5 {
						err = s.ReleaseKey(context.Background(), c.ID, c.RequestID)
					} else {
						err = s.AnswerKey(context.Background(), c.ID, c.RequestID, []byte("sealed"))
					}
					if err != nil {
						t.Errorf("end a claim: %v", err)
					}
				}
			}
		})
	}
	running.Wait()
	if granted.Load() != 5 || answered.Load() != 12 {
		t.Errorf("%d calls ran and %d got the answer, not 5 and 12", granted.Load(), answered.Load())
	}
}

// claimsEnd is that a claim is forgotten after its time, and not before.
func claimsEnd(t *testing.T, open Opener) {
	s := one(t, open)
	for key, keep := range map[string]time.Duration{"old": 0, "older": 0, "new": time.Hour} {
		c := claimOf(key, "this", key, "r", time.Hour)
		c.Keep = keep
		claimKey(t, s, c)
		must(t, s.AnswerKey(t.Context(), c.ID, key, []byte("sealed")))
	}
	wantStanding(t, claimKey(t, s, claimOf("old", "that", "again", "r", time.Hour)), idempotency.Granted, "again", "")
	n, err := s.SweepClaims(t.Context())
	if err != nil || n != 1 {
		t.Errorf("%d claims are forgotten, %v: not the one that has ended", n, err)
	}
	wantStanding(t, claimKey(t, s, claimOf("new", "this", "again", "r", time.Hour)), idempotency.Answered, "new", "sealed")
}
