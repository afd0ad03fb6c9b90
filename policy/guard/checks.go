package guard

import (
	"bytes"
	"crypto/sha256"
	"math/big"
	"net/netip"
	"strings"
)

// The checks of entities. Each takes a stretch that has the entity's form and
// tells whether its check digits, dates and prefixes are right. They are asked
// for every stretch of a text full of numbers, so none of the common ones
// allocates.

// digitsOf appends the digits of a stretch.
func digitsOf(to, s []byte) []byte {
	for _, b := range s {
		if isDigit(b) {
			to = append(to, b)
		}
	}
	return to
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// compact appends a stretch without what separates its groups, in capitals.
func compact(to, s []byte) []byte {
	for _, b := range s {
		switch {
		case b == ' ' || b == '-':
		case isLower(b):
			to = append(to, b-'a'+'A')
		default:
			to = append(to, b)
		}
	}
	return to
}

// number is the value of a few digits.
func number(digits []byte) (n int) {
	for _, b := range digits {
		n = 10*n + int(b-'0')
	}
	return n
}

// monotonous tells whether a number is one digit again and again.
func monotonous(digits []byte) bool { return len(bytes.Trim(digits, string(digits[:1]))) == 0 }

// luhn is the check of ISO/IEC 7812-1, annex B.
func luhn(digits []byte) bool {
	sum := 0
	for i := range digits {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// evenGroups tells whether the separators of a number are of one kind and
// separate groups as people write cards: four or six digits, then groups of three
// at least.
func evenGroups(s []byte) bool {
	kind, since := byte(0), 0
	for _, b := range s {
		switch {
		case isDigit(b):
			since++
			continue
		case kind == 0:
			if since != 4 && since != 6 {
				return false
			}
		case b != kind || since < 3:
			return false
		}
		kind, since = b, 0
	}
	return true
}

// isCard checks length and issuer prefix as the networks publish them, and the
// check digit.
func isCard(s []byte) bool {
	var buf [maxCard]byte
	d := digitsOf(buf[:0], s)
	return cardPrefix(d) && evenGroups(s) && luhn(d) && !monotonous(d) && !isResidentID(d)
}

// isAnyCard takes every issuer, for what is called a card.
func isAnyCard(s []byte) bool {
	var buf [maxCard]byte
	d := digitsOf(buf[:0], s)
	return evenGroups(s) && luhn(d) && !monotonous(d) && !isResidentID(d)
}

// maxCard is the most digits of a card: ISO/IEC 7812.
const maxCard = 19

func cardPrefix(d []byte) bool {
	n := len(d)
	two, three, four := number(d[:2]), number(d[:3]), number(d[:4])
	switch {
	case d[0] == '4': // Visa
		return n == 13 || n == 16 || n == 19
	case two == 34 || two == 37: // American Express
		return n == 15
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720: // Mastercard
		return n == 16
	case four == 6304, four == 6390, two == 50, two >= 56 && two <= 58, two == 67: // Maestro
		return n >= 12
	case two >= 60 && two <= 69, two == 81: // Discover, UnionPay, Maestro, RuPay
		return n >= 16
	case four >= 3528 && four <= 3589: // JCB
		return n >= 16
	case four == 2131 || four == 1800: // JCB, old
		return n == 15
	case three >= 300 && three <= 305, two == 36, two == 38, two == 39: // Diners Club
		return n >= 14
	case four >= 2200 && four <= 2204: // Mir
		return n >= 16
	}
	return false
}

// ibanLengths are those of the IBAN registry.
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28,
	"CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
	"FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
	"IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
	"LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18,
	"NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31,
	"SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29,
	"VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

// isIBAN checks the country's length and ISO 7064 MOD 97-10.
func isIBAN(s []byte) bool {
	var buf [40]byte
	c := compact(buf[:0], s)
	if ibanLengths[string(c[:2])] != len(c) {
		return false
	}
	rest := 0
	for i := range c {
		switch b := c[(i+4)%len(c)]; {
		case isDigit(b):
			rest = (rest*10 + int(b-'0')) % 97
		default:
			rest = (rest*100 + int(b-'A') + 10) % 97
		}
	}
	return rest == 1
}

// isIPv4 wants four numbers up to 255 without leading zeros; 0.0.0.0 is nobody.
func isIPv4(s []byte) bool {
	value, any := 0, false
	for i, b := range s {
		switch {
		case b == '.':
			value = 0
			continue
		case value == 0 && i > 0 && s[i-1] == '0':
			return false
		}
		if value = 10*value + int(b-'0'); value > 255 {
			return false
		}
		any = any || b != '0'
	}
	return any
}

// isIPv6 leaves out what only looks like an address: times and the bytes of
// fingerprints, and, where groups are left out, words and ranges of C++ and
// Python: what is left must be as long as addresses are. ::1 is this machine.
func isIPv6(s []byte) bool {
	colons, digits, wide, group := 0, 0, false, 0
	for _, b := range s {
		switch {
		case b == ':':
			colons++
			group = 0
			continue
		case isDigit(b):
			digits++
		}
		group++
		wide = wide || group > 2
	}
	switch {
	case digits == 0 || colons < 2:
		return false
	case !bytes.Contains(s, []byte("::")):
		if !wide || colons < 6 {
			return false
		}
	case string(s) == "::1":
		return true
	case !wide || len(s) < 7:
		return false
	}
	a, err := netip.ParseAddr(string(s))
	return err == nil && a.Is6()
}

// isSSN leaves out what the Social Security Administration never gives out.
func isSSN(s []byte) bool {
	var buf [9]byte
	d := digitsOf(buf[:0], s)
	area := string(d[:3])
	return area != "000" && area != "666" && d[0] != '9' && string(d[3:5]) != "00" && string(d[5:]) != "0000" &&
		string(d) != "123456789" && string(d) != "078051120"
}

// isHongKongID checks the digit in brackets: weights 9 to 2, modulo 11.
func isHongKongID(s []byte) bool {
	open := bytes.IndexByte(s, '(')
	body, check := s[:open], s[open+1]
	sum := 0
	if len(body) == 7 { // a blank in place of the first letter
		sum = 36 * 9
	}
	for i, b := range body {
		v := int(b-'A') + 10
		if isDigit(b) {
			v = int(b - '0')
		}
		sum += v * (1 + len(body) - i)
	}
	switch want := (11 - sum%11) % 11; want {
	case 10:
		return check == 'A'
	default:
		return check == byte('0'+want)
	}
}

func isNINO(s []byte) bool {
	switch string(s[:2]) {
	case "BG", "GB", "NK", "KN", "TN", "NT", "ZZ":
		return false
	}
	return true
}

// verhoeffTimes and verhoeffTurn are the multiplication of the dihedral group
// D5 and the permutation of Verhoeff's scheme (1969).
var (
	verhoeffTimes = [10]string{
		"0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
		"5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
	}
	verhoeffTurn = [8]string{
		"0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
	}
)

func isAadhaar(s []byte) bool {
	var buf [12]byte
	d := digitsOf(buf[:0], s)
	c := byte(0)
	for i := range len(d) {
		c = verhoeffTimes[c][verhoeffTurn[i%8][d[len(d)-1-i]-'0']-'0'] - '0'
	}
	return c == 0
}

// isCPF checks both digits of Brazil's Cadastro de Pessoas Físicas.
func isCPF(s []byte) bool {
	var buf [11]byte
	d := digitsOf(buf[:0], s)
	if monotonous(d) {
		return false
	}
	for n := 9; n <= 10; n++ {
		sum := 0
		for i := range n {
			sum += int(d[i]-'0') * (n + 1 - i)
		}
		if int(d[n]-'0') != sum*10%11%10 {
			return false
		}
	}
	return true
}

// isNIR checks France's number of the Répertoire national: 97 minus the rest.
// Corsica's departments 2A and 2B count as 19 and 18.
func isNIR(s []byte) bool {
	var buf [15]byte
	c := compact(buf[:0], s)
	switch c[6] {
	case 'A':
		c[5], c[6] = '1', '9'
	case 'B':
		c[5], c[6] = '1', '8'
	}
	return number(c[13:]) == 97-number(c[:13])%97
}

// isNIF checks the letter of Spain's DNI and NIE.
func isNIF(s []byte) bool {
	var buf [9]byte
	c := compact(buf[:0], s)
	if c[0] >= 'X' {
		c[0] -= 'X' - '0'
	}
	return c[8] == "TRWAGMYFPDXBNJZSQVHLCKE"[number(c[:8])%23]
}

// isFiscalCode checks the last letter of Italy's codice fiscale (decree of 23
// December 1976).
func isFiscalCode(s []byte) bool {
	odd := [26]int{1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23}
	sum := 0
	for i := range 15 {
		v := int(s[i] - 'A')
		if s[i] <= '9' {
			v = int(s[i] - '0')
		}
		if i%2 == 0 {
			v = odd[v]
		}
		sum += v
	}
	return s[15] == byte('A'+sum%26)
}

// isGermanTaxID checks ISO 7064 MOD 11,10, and that one digit of the first ten
// is there two or three times.
func isGermanTaxID(s []byte) bool {
	var buf [11]byte
	d := digitsOf(buf[:0], s)
	var times [10]int
	product := 10
	for i := range 10 {
		v := int(d[i] - '0')
		times[v]++
		sum := (v + product) % 10
		if sum == 0 {
			sum = 10
		}
		product = sum * 2 % 11
	}
	repeated := 0
	for _, n := range times {
		if n > 3 {
			return false
		}
		if n > 1 {
			repeated++
		}
	}
	return repeated == 1 && int(d[10]-'0') == (11-product)%10
}

// isBase58Check checks the version and the four bytes of double SHA-256 of a
// Bitcoin address.
func isBase58Check(s []byte) bool {
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	n, base := new(big.Int), big.NewInt(58)
	for i := range len(s) {
		n.Mul(n, base)
		n.Add(n, big.NewInt(int64(strings.IndexByte(alphabet, s[i]))))
	}
	var raw [25]byte
	if len(n.Bytes()) > len(raw) {
		return false
	}
	n.FillBytes(raw[:])
	once := sha256.Sum256(raw[:21])
	twice := sha256.Sum256(once[:])
	return (raw[0] == 0 || raw[0] == 5) && string(raw[21:]) == string(twice[:4])
}

// isBech32 checks the polynomial of BIP 173 and BIP 350.
func isBech32(s []byte) bool {
	const alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	generator := [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}
	sum := uint32(1)
	feed := func(v uint32) {
		top := sum >> 25
		sum = (sum&0x1ffffff)<<5 ^ v
		for i, g := range generator {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	for _, v := range []uint32{3, 3, 0, 2, 3} { // "bc", spread
		feed(v)
	}
	for i := 3; i < len(s); i++ {
		feed(uint32(strings.IndexByte(alphabet, s[i])))
	}
	return sum == 1 || sum == 0x2bc830a3
}
