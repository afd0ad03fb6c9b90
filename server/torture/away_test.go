//go:build torture

package torture

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// TestWithoutTheDatabase has a replica cut off from it: calls go on under a
// budget in shadow, and none begins whose callers wait for the database.
func TestWithoutTheDatabase(t *testing.T) {
	shadow := fmt.Sprintf(tenant, "lively", "input: 0.50, output: 1.50") + "\nkind: Budget\nname: tried\ntenant: acme\nlimit: 1 USD\nwindow: total\nmode: shadow\n"
	for durability, goesOn := range map[string]bool{"commit": true, "store": false} {
		t.Run(durability, func(t *testing.T) {
			f := startFleet(t, 1, durability, shadow)
			one := call{model: "lively", words: 3, most: 10}
			if h := f.make(bounded(t), f.replicas[0], one); !h.ok {
				t.Fatalf("with the database: %v", h.err)
			}
			f.replicas[0].proxy.cut(true)
			stuck := one
			stuck.within = 2 * time.Second
			if h := f.make(bounded(t), f.replicas[0], stuck); h.ok != goesOn {
				t.Errorf("the first call: %v", h.err)
			}
			asked := len(f.models.account())
			h := f.make(bounded(t), f.replicas[0], one)
			if _, again := h.retry(); h.ok != goesOn || !goesOn && !again {
				t.Errorf("the second call: %v", h.err)
			}
			if more := len(f.models.account()) - asked; (more > 0) != goesOn {
				t.Errorf("the backend was asked %d times by the second call", more)
			}
			f.replicas[0].proxy.cut(false)
			if h := f.makeAgain(f.replicas[0], one, new(atomic.Int64)); !h.ok {
				t.Errorf("when the database is back: %v", h.err)
			}
			f.settle()
			f.read(nil).room()
		})
	}
}
