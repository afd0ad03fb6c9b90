package accounting

import (
	"math"
	"math/bits"
)

// Percent returns percent hundredths of an amount, rounded down. Both must not
// be negative. It fails with ErrOverflow.
func Percent(amount int64, percent int) (int64, error) {
	hi, lo := bits.Mul64(uint64(amount), uint64(percent))
	if hi >= 100 {
		return 0, ErrOverflow
	}
	quo, _ := bits.Div64(hi, lo, 100)
	if quo > math.MaxInt64 {
		return 0, ErrOverflow
	}
	return int64(quo), nil
}

// Reaches tells whether something was spent and it is percent hundredths of a
// limit or more, exactly.
func Reaches(spent, limit int64, percent int) bool {
	if spent <= 0 || percent < 0 {
		return false
	}
	hi, lo := bits.Mul64(uint64(spent), 100)
	wantHi, wantLo := bits.Mul64(uint64(max(limit, 0)), uint64(percent))
	return hi > wantHi || hi == wantHi && lo >= wantLo
}
