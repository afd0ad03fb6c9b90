package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Quota is a number of things in a span of time, written 600/min.
type Quota struct {
	N   int64
	Per time.Duration
}

var quotaUnits = []struct {
	name string
	per  time.Duration
}{{"s", time.Second}, {"min", time.Minute}, {"h", time.Hour}, {"day", 24 * time.Hour}}

// UnmarshalText reads "N/unit": N is a whole number greater than zero, with k
// (thousand) or M (million) behind it if wanted; the unit is s, min, h or day.
func (q *Quota) UnmarshalText(text []byte) error {
	count, unit, ok := strings.Cut(string(text), "/")
	if !ok {
		return fmt.Errorf("want a quota such as 600/min, got %q", text)
	}
	n, err := parseCount(count)
	if err != nil || n < 1 {
		return fmt.Errorf("want a whole number greater than zero before the slash of %q, such as 600/min or 200k/min", text)
	}
	names := make([]string, len(quotaUnits))
	for i, u := range quotaUnits {
		if u.name == unit {
			*q = Quota{N: n, Per: u.per}
			return nil
		}
		names[i] = u.name
	}
	return fmt.Errorf("unknown unit %q in %q%s", unit, text, suggest(unit, names))
}

func (q Quota) String() string {
	for _, u := range quotaUnits {
		if u.per == q.Per {
			return fmt.Sprintf("%d/%s", q.N, u.name)
		}
	}
	return fmt.Sprintf("%d/%s", q.N, q.Per)
}

func parseCount(text string) (int64, error) {
	factor := int64(1)
	if digits, ok := strings.CutSuffix(text, "k"); ok {
		text, factor = digits, 1_000
	} else if digits, ok := strings.CutSuffix(text, "M"); ok {
		text, factor = digits, 1_000_000
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/factor {
		return 0, fmt.Errorf("want a whole number, got %q", text)
	}
	return int64(n) * factor, nil
}

// ParseDuration reads what time.ParseDuration reads, and whole days: 183d.
// Negative durations are refused.
func ParseDuration(text string) (time.Duration, error) {
	if digits, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(digits, 10, 31)
		if err != nil || time.Duration(n) > math.MaxInt64/(24*time.Hour) {
			return 0, fmt.Errorf("want a duration such as 90s, 12h or 183d, got %q", text)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	length, err := time.ParseDuration(text)
	if err != nil || length < 0 {
		return 0, fmt.Errorf("want a duration such as 90s, 12h or 183d, got %q", text)
	}
	return length, nil
}

// parseShare reads a percentage with up to four decimals as parts per million,
// digit by digit: 10% is 100,000.
func parseShare(text string) (int64, error) {
	fault := fmt.Errorf("want a share from 0%% to 100%% with at most four decimals, such as 10%% or 0.5%%, got %q", text)
	number, ok := strings.CutSuffix(text, "%")
	if !ok {
		return 0, fault
	}
	whole, decimals, dot := strings.Cut(number, ".")
	if dot && decimals == "" || len(decimals) > 4 {
		return 0, fault
	}
	n, err := strconv.ParseUint(whole+decimals+strings.Repeat("0", 4-len(decimals)), 10, 63)
	if err != nil || whole == "" || n > 1_000_000 {
		return 0, fault
	}
	return int64(n), nil
}
