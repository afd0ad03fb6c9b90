package accounting_test

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
)

func TestPercentsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amounts := rapid.OneOf(rapid.Int64Range(0, math.MaxInt64), rapid.Int64Range(0, 1000))
		limit, spent, percent := amounts.Draw(t, "limit"), amounts.Draw(t, "spent"), rapid.IntRange(0, 1000).Draw(t, "percent")
		product := new(big.Int).Mul(big.NewInt(limit), big.NewInt(int64(percent)))
		want := new(big.Int).Div(product, big.NewInt(100))
		got, err := accounting.Percent(limit, percent)
		if errors.Is(err, accounting.ErrOverflow) == want.IsInt64() || err == nil && got != want.Int64() {
			t.Fatalf("%d%% of %d is %d, %v; want %s", percent, limit, got, err, want)
		}
		reached := spent > 0 && new(big.Int).Mul(big.NewInt(spent), big.NewInt(100)).Cmp(product) >= 0
		if accounting.Reaches(spent, limit, percent) != reached {
			t.Fatalf("%d of %d reaches %d%%: %t", spent, limit, percent, !reached)
		}
	})
	if !accounting.Reaches(1, -5, 100) || accounting.Reaches(0, 0, 100) || accounting.Reaches(-1, 0, 100) {
		t.Error("a limit below zero is reached by the first spending, and nothing reaches one by itself")
	}
}
