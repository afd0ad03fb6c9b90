package backend

import (
	"encoding/json"
	"time"
)

// A CacheHint asks a backend to keep what of the prompt comes before its place,
// and it, in a cache of prompts. A backend without such a cache ignores it.
type CacheHint struct {
	// TTL is how long it should be kept: a backend takes the nearest time that it
	// has. 0 is its default.
	TTL time.Duration
}

// longCache is how long a prompt has to be kept for the dearer of the two
// meters of cache writes.
const longCache = 30 * time.Minute

// Long tells the hour that some backends offer from the five minutes.
func (h CacheHint) Long() bool { return h.TTL > longCache }

// CacheHints are the hints of a request, those of its tools first.
func (r *Request) CacheHints() []CacheHint {
	var all []CacheHint
	for i := range r.Tools {
		if h := r.Tools[i].Cache; h != nil {
			all = append(all, *h)
		}
	}
	for i := range r.Messages {
		for j := range r.Messages[i].Parts {
			if h := r.Messages[i].Parts[j].Cache; h != nil {
				all = append(all, *h)
			}
		}
	}
	return all
}

// VendorOptions are JSON objects of parameters that one vendor alone knows, by
// the vendor, which is the kind of its backend. A driver puts its own into its
// request and refuses, as Rejected, what it sets itself and what would change
// how the call is priced, bounded or screened.
type VendorOptions map[string]json.RawMessage

// VendorExtras are JSON objects of what answers have that the neutral form has no
// place for, by the vendor, in the shape that its API gives them, of at most
// MaxExtras bytes. No guard sees them.
type VendorExtras map[string]json.RawMessage

// MaxExtras bounds the extras of an answer, in bytes.
const MaxExtras = 16 << 10
