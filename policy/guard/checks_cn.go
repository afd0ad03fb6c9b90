package guard

import "bytes"

// The checks of numbers of China.

// residentRegions are the first two digits of GB/T 2260, and those of Hong Kong,
// Macao and Taiwan residents' permits.
var residentRegions = [100]bool{
	11: true, 12: true, 13: true, 14: true, 15: true, 21: true, 22: true, 23: true, 31: true, 32: true, 33: true, 34: true,
	35: true, 36: true, 37: true, 41: true, 42: true, 43: true, 44: true, 45: true, 46: true, 50: true, 51: true, 52: true,
	53: true, 54: true, 61: true, 62: true, 63: true, 64: true, 65: true, 71: true, 81: true, 82: true, 83: true, 91: true,
}

// isResidentID checks region, date of birth and ISO 7064 MOD 11-2.
func isResidentID(s []byte) bool {
	var buf [18]byte
	c := compact(buf[:0], s)
	if len(c) != 18 || !residentRegions[number(c[:2])] {
		return false
	}
	if year := number(c[6:10]); year < 1880 || year > 2100 || !isDay(year, number(c[10:12]), number(c[12:14])) {
		return false
	}
	sum, weight := 0, 1
	for i := 16; i >= 0; i-- {
		weight = weight * 2 % 11
		sum += int(c[i]-'0') * weight
	}
	return c[17] == "10X98765432"[sum%11]
}

// isOldResidentID checks region and date of birth of a number of before 1999: it
// has no century and no check character.
func isOldResidentID(s []byte) bool {
	return residentRegions[number(s[:2])] && string(s[2:4]) != "00" && isDay(1900+number(s[6:8]), number(s[8:10]), number(s[10:12]))
}

// isMobile wants dots on both places or on none: else it is a decimal.
func isMobile(s []byte) bool { return bytes.Count(s, []byte(".")) != 1 }

// isChineseBankCard takes the prefixes of China UnionPay, and those of before it
// that are still in use.
func isChineseBankCard(s []byte) bool {
	var buf [maxCard]byte
	d := digitsOf(buf[:0], s)
	switch {
	case len(d) < 16:
		return false
	case d[0] == '6' && d[1] == '2':
	case string(d[:4]) == "9558", string(d[:4]) == "9559", string(d[:4]) == "6013", string(d[:4]) == "6029", string(d[:4]) == "6033":
	default:
		return false
	}
	return evenGroups(s) && luhn(d) && !isResidentID(d)
}

// isUSCC checks the region (GB/T 2260, or 10 for the state's own) and the last
// character by GB 32100: weights 3^i mod 31.
func isUSCC(s []byte) bool {
	const alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
	if region := number(s[2:4]); region != 10 && !residentRegions[region] {
		return false
	}
	var buf [18]byte
	c := compact(buf[:0], s)
	sum, weight := 0, 1
	value := func(b byte) int { return bytes.IndexByte([]byte(alphabet), b) }
	for _, b := range c[:17] {
		sum += value(b) * weight
		weight = weight * 3 % 31
	}
	return value(c[17]) == (31-sum%31)%31
}

// plateSerial is what follows the place on a plate, without what separates it.
func plateSerial(to, s []byte) []byte {
	to = compact(to, s[3:]) // behind the province
	for i, b := range to {
		if b < 'A' || b > 'Z' {
			continue
		}
		to = to[i+1:] // and the letter of the town
		break
	}
	for len(to) > 0 && !isDigit(to[0]) && (to[0] < 'A' || to[0] > 'Z') {
		to = to[1:]
	}
	return to
}

// isPlate checks the serial by GA 36: five characters of which two at most are
// letters, or four and a word; six where the car is of new energy, with a letter
// from A to K first or last.
func isPlate(s []byte) bool {
	var buf [24]byte
	serial := plateSerial(buf[:0], s)
	letters, ascii := 0, 0
	for _, b := range serial {
		if b < 0x80 {
			ascii++
		}
		if b >= 'A' && b <= 'Z' {
			letters++
		}
	}
	if ascii < 6 {
		return letters <= 2
	}
	isKind := func(b byte) bool { return b >= 'A' && b <= 'K' }
	switch {
	case isKind(serial[0]):
		return letters == 1 || letters == 2 && !isDigit(serial[1])
	case isKind(serial[5]):
		return letters == 1
	}
	return false
}

// isPlateOfDigits is isPlate where the serial is digits.
func isPlateOfDigits(s []byte) bool {
	var buf [24]byte
	serial := plateSerial(buf[:0], s)
	return len(serial) == 5 && len(digitsOf(nil, serial)) == 5
}
