package accounting

import (
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// A Meter is one thing that is counted and priced. Meters are disjoint: a
// cached input token is in CacheRead and not in Input.
type Meter uint8

// The meters. Their names are stored, so they never change.
const (
	Input        Meter = iota // input tokens that were neither read from nor written to a cache
	CacheRead                 // input tokens that were read from the provider's cache
	CacheWrite5m              // input tokens that were written to its cache for five minutes
	CacheWrite1h              // input tokens that were written to its cache for an hour
	Output                    // output tokens that were not reasoning
	Reasoning                 // output tokens that were reasoning
	Requests                  // calls, for what is priced by the call
	meterCount
)

var meterNames = [meterCount]string{"input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning", "requests"}

// Meters lists every meter in a fixed order.
func Meters() []Meter {
	all := make([]Meter, meterCount)
	for i := range all {
		all[i] = Meter(i)
	}
	return all
}

func (m Meter) String() string {
	if m < meterCount {
		return meterNames[m]
	}
	return fmt.Sprintf("meter(%d)", uint8(m))
}

// ParseMeter finds a meter by its name.
func ParseMeter(name string) (Meter, error) {
	for i, n := range meterNames {
		if n == name {
			return Meter(i), nil
		}
	}
	known := append([]string(nil), meterNames[:]...)
	sort.Strings(known)
	return 0, fmt.Errorf("%q is not a meter; known are %s", name, strings.Join(known, ", "))
}

// Usage is what a call used, one quantity a meter. A meter that nobody
// counted is absent, which is not zero. The zero Usage knows nothing. Usage is
// a value: it is copied, compared with == and safe to share.
type Usage struct {
	quantity [meterCount]int64
	known    uint16
}

// Set records the quantity of a meter.
func (u *Usage) Set(m Meter, quantity int64) {
	u.quantity[m] = quantity
	u.known |= 1 << m
}

// Get returns the quantity of a meter and whether it is known.
func (u Usage) Get(m Meter) (int64, bool) {
	return u.quantity[m], u.known&(1<<m) != 0
}

// Known tells whether any meter is known.
func (u Usage) Known() bool { return u.known != 0 }

// InputTokens is the sum of the input meters, as providers call the total. It
// is known where one of them is.
func (u Usage) InputTokens() (int64, bool) {
	return u.sum(Input, CacheRead, CacheWrite5m, CacheWrite1h)
}

// OutputTokens is the sum of the output meters.
func (u Usage) OutputTokens() (int64, bool) { return u.sum(Output, Reasoning) }

// Tokens is the sum of all token meters, absent ones counted as nothing.
func (u Usage) Tokens() int64 {
	in, _ := u.InputTokens()
	out, _ := u.OutputTokens()
	return in + out
}

func (u Usage) sum(meters ...Meter) (total int64, known bool) {
	for _, m := range meters {
		if n, ok := u.Get(m); ok {
			total, known = total+n, true
		}
	}
	return total, known
}

// Check fails where a quantity is negative: a provider that reports that is
// not to be believed.
func (u Usage) Check() error {
	for _, m := range Meters() {
		if n, _ := u.Get(m); n < 0 {
			return fmt.Errorf("usage of meter %s is negative: %d", m, n)
		}
	}
	return nil
}

// MarshalJSON writes the known meters by name.
func (u Usage) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for _, m := range Meters() {
		if n, ok := u.Get(m); ok {
			if len(b) > 1 {
				b = append(b, ',')
			}
			b = append(append(append(b, '"'), m.String()...), `":`...) // no name has anything to escape
			b = strconv.AppendInt(b, n, 10)
		}
	}
	return append(b, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (u *Usage) UnmarshalJSON(data []byte) error {
	var known map[string]int64
	if err := json.Unmarshal(data, &known); err != nil {
		return err
	}
	*u = Usage{}
	for name, n := range known {
		m, err := ParseMeter(name)
		if err != nil {
			return err
		}
		u.Set(m, n)
	}
	return nil
}
