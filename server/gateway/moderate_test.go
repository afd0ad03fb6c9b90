package gateway_test

import (
	"context"
	"errors"
	"testing"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/gateway"
)

// A text that a guard model finds bad is told, each text by itself, and the
// questions are charged to the caller.
func TestModerateAsksAGuardModel(t *testing.T) {
	h := newJudged(t, remotePolicy("input", "{id: judged, guard: remote, kind: guard_model, model: llama-guard, action: block}"))
	call := newCall("")
	got, err := h.Moderate(context.Background(), call, []string{"It is good.", "A zorb is in it.", "It is good too."})
	if err != nil || len(got) != 3 {
		t.Fatalf("%+v %v", got, err)
	}
	for i, m := range got {
		if bad := i == 1; m.Blocked != bad || (m.Text == "") != bad || (m.Action() == policy.Block) != bad {
			t.Errorf("text %d is judged %+v", i, m)
		}
	}
	if v := got[1].Verdicts; len(v) != 1 || v[0].Category != "hazard/violent_crime" || v[0].Message != 1 {
		t.Errorf("verdicts are %+v", v)
	}
	if inner := h.inner(call); len(inner) != 3 {
		t.Errorf("%d lines of inner calls", len(inner))
	}

	// A caller who goes is not kept waiting.
	h.judge.mu.Lock()
	h.judge.mode = "stall"
	h.judge.mu.Unlock()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	var failed *gateway.Error
	if _, err := h.Moderate(gone, newCall(""), []string{"It is good."}); !errors.As(err, &failed) || failed.Reason != gateway.Cancelled {
		t.Errorf("for a caller who has gone: %v", err)
	}
}
