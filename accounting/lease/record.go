package lease

import (
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// A Record is a lease as its store keeps it. Of its window it has id, budget,
// tenant, scope and unit.
type Record struct {
	ID                         ID
	Window                     accounting.Window
	Granted, Returned, Settled int64
	Expires                    time.Time
	State                      State
}

// Remainder is what is left of the lease, in the smallest part of its window's
// unit: free, held by calls, or on its way to be settled.
func (r Record) Remainder() int64 { return r.Granted - r.Returned - r.Settled }

// A Query says which records are wanted: those of leases that are not closed or
// that something remains of, by window and id.
type Query struct {
	// Tenant is whose windows they are of, empty for everyone's.
	Tenant string
	// State is the one they are in, empty for any.
	State State
	// Behind the lease of that window and id the list goes on; zero for its
	// beginning.
	AfterWindow string
	After       ID
	Limit       int
}

// A Silence is a replica that was not heard of for longer than its leases last,
// although something is set aside for it.
type Silence struct {
	Replica string
	// Leases is how many of them something remains of, Since when the last of
	// them ended.
	Leases int64
	Since  time.Time
}
