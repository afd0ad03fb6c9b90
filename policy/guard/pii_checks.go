package guard

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"strings"
)

// isBirthDate wants a day that the calendar has, in a year in which somebody who
// is talked of can have been born. Where the year stands last, day or month may
// stand first.
func isBirthDate(match []byte) bool {
	s := string(match)
	var numbers []int
	month := 0
	for _, word := range strings.FieldsFunc(s, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	}) {
		n, err := strconv.Atoi(strings.TrimRight(word, "dhnrst")) // 1st, 2nd, 3rd, 4th
		switch {
		case err == nil && len(word) == 8: // 19900312
			numbers = append(numbers, n/10_000, n/100%100, n%100)
		case err == nil:
			numbers = append(numbers, n)
		case len(word) >= 3: // not "of"
			month = 1 + strings.Index("janfebmaraprmayjunjulaugsepoctnovdec", strings.ToLower(word[:3]))/3
		}
	}
	if month > 0 {
		numbers = append(numbers, month)
	}
	if len(numbers) != 3 {
		return false
	}
	year, a, b := numbers[0], numbers[1], numbers[2]
	if year <= 31 { // day and month first, or month and day
		year, a, b = numbers[2], numbers[0], numbers[1]
		if month > 0 {
			year, a, b = numbers[1], numbers[0], month
		}
	}
	if year < 1900 || year > 2100 {
		return false
	}
	return isDay(year, a, b) || year != numbers[0] && isDay(year, b, a)
}

func isDay(year, month, day int) bool {
	if month < 1 || month > 12 || day < 1 {
		return false
	}
	last := 31
	switch month {
	case 4, 6, 9, 11:
		last = 30
	case 2:
		last = 28
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			last = 29
		}
	}
	return day <= last
}

// isCoordinates wants a latitude and a longitude in degrees.
func isCoordinates(match []byte) bool {
	s := string(match)
	parts := strings.FieldsFunc(s, func(r rune) bool { return r != '-' && r != '.' && (r < '0' || r > '9') })
	if len(parts) != 2 {
		return false
	}
	latitude, err := strconv.ParseFloat(parts[0], 64)
	longitude, bad := strconv.ParseFloat(parts[1], 64)
	return err == nil && bad == nil && latitude >= -90 && latitude <= 90 && longitude >= -180 && longitude <= 180
}

// isEthereum checks the case of an address's letters, which is its checksum
// (EIP-55): a letter is a capital where the digit of the hash at its place is 8
// or more. An address in one case has no checksum.
func isEthereum(s []byte) bool {
	address := string(s[2:])
	small := strings.ToLower(address)
	if strings.Trim(address, "0") == "" {
		return false // nobody's
	}
	if address == small || address == strings.ToUpper(address) {
		return true
	}
	hash := keccak256(small)
	for i := range len(address) {
		if small[i] < 'a' {
			continue
		}
		nibble := hash[i/2] >> (4 * (1 - i%2)) & 15
		if (nibble >= 8) != (address[i] < 'a') {
			return false
		}
	}
	return true
}

// keccak256 is Keccak as it was submitted, which Ethereum uses: FIPS 202 with
// the padding byte 01. The text is shorter than a block of 136 bytes.
func keccak256(text string) (sum [32]byte) {
	var block [136]byte
	copy(block[:], text)
	block[len(text)] ^= 0x01
	block[len(block)-1] ^= 0x80
	var a [25]uint64 // the lane (x, y) is a[x+5y]
	for i := range len(block) / 8 {
		a[i] = binary.LittleEndian.Uint64(block[8*i:])
	}
	lfsr := byte(1)
	for range 24 {
		var c [5]uint64
		for x := range c { // theta
			c[x] = a[x] ^ a[x+5] ^ a[x+10] ^ a[x+15] ^ a[x+20]
		}
		for i := range a {
			a[i] ^= c[(i+4)%5] ^ bits.RotateLeft64(c[(i+1)%5], 1)
		}
		x, y, lane := 1, 0, a[1] // rho and pi
		for t := range 24 {
			x, y = y, (2*x+3*y)%5
			lane, a[x+5*y] = a[x+5*y], bits.RotateLeft64(lane, (t+1)*(t+2)/2%64)
		}
		for y := 0; y < 25; y += 5 { // chi
			row := [5]uint64(a[y : y+5])
			for x := range row {
				a[y+x] = row[x] ^ ^row[(x+1)%5]&row[(x+2)%5]
			}
		}
		for j := range 7 { // iota: the constants come out of a shift register
			if lfsr&1 == 1 {
				a[0] ^= 1 << (1<<j - 1)
			}
			lfsr = lfsr<<1 ^ lfsr>>7*0x71
		}
	}
	for i := range len(sum) / 8 {
		binary.LittleEndian.PutUint64(sum[8*i:], a[i])
	}
	return sum
}
