//go:build pricedata

package feed

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-gateway/weir/accounting"
)

// The public files have prices that are wrong by 10^5; WEIR_PRICE_DATA names the
// folder that they are in (make test-prices).
func TestThePublicFiles(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(os.Getenv("WEIR_PRICE_DATA"), "litellm_model_prices_and_context_window.json"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := Read(data, today)
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, r := range rows {
		if len(r.Refused) > 0 {
			continue
		}
		passed++
		if r.PerUnit[accounting.Input] > 1_000_000_000 || r.Provider == "wandb" && r.PerUnit[accounting.Input] > 10_000_000 {
			t.Errorf("%s passed at %s USD for one", r.Name, r.PerUnit[accounting.Input].Decimal())
		}
	}
	t.Logf("%d of %d rows passed", passed, len(rows))
	if passed < 2000 {
		t.Errorf("only %d of %d rows passed", passed, len(rows))
	}
}
