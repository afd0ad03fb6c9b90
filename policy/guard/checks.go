package guard

import (
	"crypto/sha256"
	"math/big"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The checks of entities. Each takes a stretch that has the entity's form and
// tells whether its check digits, dates and prefixes are right.

// digitsOf returns the digits of a stretch.
func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}

func digitsBetween(least, most int) func(string) bool {
	return func(s string) bool {
		n := len(digitsOf(s))
		return n >= least && n <= most
	}
}

// isNationalNumber leaves out dates and spans of years, which are grouped as
// telephone numbers are.
func isNationalNumber(s string) bool {
	d := digitsOf(s)
	if len(d) == 8 {
		for _, group := range strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
			if len(group) == 4 && (strings.HasPrefix(group, "19") || strings.HasPrefix(group, "20")) {
				return false
			}
		}
	}
	return len(d) >= 7 && len(d) <= 12
}

// compact returns a stretch without what separates its groups, in capitals.
func compact(s string) string {
	return strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(s))
}

// luhn is the check of ISO/IEC 7812-1, annex B.
func luhn(digits string) bool {
	sum := 0
	for i := range len(digits) {
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
// separate groups of at least two digits, as people write cards.
func evenGroups(s string) bool {
	kind, since := byte(0), 0
	for i := range len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			since++
			continue
		}
		if since < 3 || (kind != 0 && s[i] != kind) {
			return false
		}
		kind, since = s[i], 0
	}
	return kind == 0 || since >= 1
}

// isCard checks length and issuer prefix as the networks publish them, and the
// check digit.
func isCard(s string) bool {
	d := digitsOf(s)
	return evenGroups(s) && luhn(d) && cardPrefix(d) && strings.Trim(d, d[:1]) != ""
}

func cardPrefix(d string) bool {
	n := len(d)
	prefix := func(digits int) int {
		v, _ := strconv.Atoi(d[:digits])
		return v
	}
	two, three, four := prefix(2), prefix(3), prefix(4)
	switch {
	case d[0] == '4': // Visa
		return n == 13 || n == 16 || n == 19
	case two == 34 || two == 37: // American Express
		return n == 15
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720: // Mastercard
		return n == 16
	case four == 6011 || two == 65 || three >= 644 && three <= 649, two == 62, two == 81: // Discover, UnionPay
		return n >= 16 && n <= 19
	case four >= 3528 && four <= 3589: // JCB
		return n >= 16 && n <= 19
	case four == 2131 || four == 1800: // JCB, old
		return n == 15
	case three >= 300 && three <= 305, two == 36, two == 38, two == 39: // Diners Club
		return n >= 14 && n <= 19
	case two == 50 || two >= 56 && two <= 69: // Maestro
		return n >= 12 && n <= 19
	case four >= 2200 && four <= 2204: // Mir
		return n >= 16 && n <= 19
	}
	return false
}

func isUnionPay(s string) bool {
	d := digitsOf(s)
	return evenGroups(s) && strings.HasPrefix(d, "62") && len(d) >= 16 && luhn(d)
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
func isIBAN(s string) bool {
	c := compact(s)
	if ibanLengths[c[:2]] != len(c) {
		return false
	}
	rest := 0
	for _, b := range []byte(c[4:] + c[:4]) {
		switch {
		case b >= '0' && b <= '9':
			rest = (rest*10 + int(b-'0')) % 97
		default:
			rest = (rest*100 + int(b-'A') + 10) % 97
		}
	}
	return rest == 1
}

func isIPv4(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4() && !a.IsUnspecified()
}

// isIPv6 wants more than :: and a digit, which are words of some languages.
func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6() && len(s) >= 8 && strings.ContainsAny(s, "0123456789")
}

// isSSN leaves out what the Social Security Administration never gives out.
func isSSN(s string) bool {
	d := digitsOf(s)
	return d[:3] != "000" && d[:3] != "666" && d[3:5] != "00" && d[5:] != "0000" && d != "123456789" && d != "078051120"
}

// residentRegions are the first two digits of GB/T 2260, and those of Hong Kong,
// Macao and Taiwan residents' permits.
const residentRegions = " 11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83 91 "

// isResidentID checks region, date of birth and ISO 7064 MOD 11-2.
func isResidentID(s string) bool {
	c := compact(s)
	if !strings.Contains(residentRegions, " "+c[:2]+" ") {
		return false
	}
	born, err := time.Parse("20060102", c[6:14])
	if err != nil || born.Year() < 1880 || born.Year() > 2100 {
		return false
	}
	weights := [17]int{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2}
	sum := 0
	for i, w := range weights {
		sum += int(c[i]-'0') * w
	}
	return c[17] == "10X98765432"[sum%11]
}

// isUSCC checks the region (GB/T 2260, or 10 for the state's own) and the last
// character by GB 32100: weights 3^i mod 31.
func isUSCC(s string) bool {
	const alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
	if s[2:4] != "10" && !strings.Contains(residentRegions, " "+s[2:4]+" ") {
		return false
	}
	sum, weight := 0, 1
	for i := range 17 {
		sum += strings.IndexByte(alphabet, s[i]) * weight
		weight = weight * 3 % 31
	}
	return strings.IndexByte(alphabet, s[17]) == (31-sum%31)%31
}

// isPlate wants a digit: five letters are a word.
func isPlate(s string) bool { return strings.ContainsAny(s, "0123456789") }

// isHongKongID checks the digit in brackets: weights 9 to 2, modulo 11.
func isHongKongID(s string) bool {
	open := strings.IndexByte(s, '(')
	body, check := s[:open], s[open+1]
	if len(body) == 7 {
		body = " " + body
	}
	sum := 0
	for i, b := range []byte(body) {
		v := 36
		switch {
		case b >= 'A' && b <= 'Z':
			v = int(b-'A') + 10
		case b >= '0' && b <= '9':
			v = int(b - '0')
		}
		sum += v * (9 - i)
	}
	switch want := (11 - sum%11) % 11; want {
	case 10:
		return check == 'A'
	default:
		return check == byte('0'+want)
	}
}

func isNINO(s string) bool {
	switch compact(s)[:2] {
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

func isAadhaar(s string) bool {
	d := digitsOf(s)
	c := byte(0)
	for i := range len(d) {
		c = verhoeffTimes[c][verhoeffTurn[i%8][d[len(d)-1-i]-'0']-'0'] - '0'
	}
	return c == 0
}

// isCPF checks both digits of Brazil's Cadastro de Pessoas Físicas.
func isCPF(s string) bool {
	d := digitsOf(s)
	if strings.Trim(d, d[:1]) == "" {
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
func isNIR(s string) bool {
	c := compact(s)
	body := strings.NewReplacer("2A", "19", "2B", "18").Replace(c[:13])
	n, err := strconv.ParseInt(body, 10, 64)
	key, bad := strconv.Atoi(c[13:])
	return err == nil && bad == nil && int64(key) == 97-n%97
}

// isNIF checks the letter of Spain's DNI and NIE.
func isNIF(s string) bool {
	c := compact(s)
	number := strings.NewReplacer("X", "0", "Y", "1", "Z", "2").Replace(c[:1]) + c[1:8]
	n, err := strconv.Atoi(number)
	return err == nil && c[8] == "TRWAGMYFPDXBNJZSQVHLCKE"[n%23]
}

// isFiscalCode checks the last letter of Italy's codice fiscale (decree of 23
// December 1976).
func isFiscalCode(s string) bool {
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
func isGermanTaxID(s string) bool {
	d := digitsOf(s)
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
func isBase58Check(s string) bool {
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
func isBech32(s string) bool {
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
