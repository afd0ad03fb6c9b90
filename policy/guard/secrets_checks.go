package guard

import (
	"encoding/base64"
	"encoding/json"
	"hash/crc32"
	"math"
	"strings"
	"unicode/utf8"
)

// base62 is the alphabet of GitHub's checksums.
const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// hasCRC checks a token of GitHub: behind the prefix, 30 characters, and their
// CRC-32 in six digits of base 62 (github.blog, "Behind GitHub's new
// authentication token formats", 2021; the alphabet is known from tokens).
func hasCRC(token string) bool {
	body := token[strings.IndexByte(token, '_')+1:]
	if len(body) < 7 {
		return false
	}
	body, check := body[:len(body)-6], body[len(body)-6:]
	return check == crcOf(body)
}

func crcOf(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	var out [6]byte
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = base62[sum%62]
		sum /= 62
	}
	return string(out[:])
}

// jwtDots is how many dots a JSON Web Token with this header has; 0 if it is no
// header of one. RFC 7515 wants alg in it, RFC 7516 enc besides.
func jwtDots(header string) int {
	raw, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		return 0
	}
	var h struct {
		Alg *string `json:"alg"`
		Enc *string `json:"enc"`
	}
	switch err := json.Unmarshal(raw, &h); {
	case err != nil || h.Alg == nil:
		return 0
	case h.Enc == nil:
		return 2
	}
	return 4
}

// isBasicAuth tells whether a credential of RFC 7617 has a user and a password.
func isBasicAuth(value string) bool {
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
	if err != nil || !utf8.Valid(raw) {
		return false
	}
	user, password, ok := strings.Cut(string(raw), ":")
	printable := !strings.ContainsFunc(user+password, func(r rune) bool { return r < ' ' })
	return ok && printable && len(password) >= 3 && !isStandIn(password)
}

// isDiscord: the first part of a bot's token is its numeric id in base 64.
func isDiscord(token string) bool {
	id, err := base64.RawURLEncoding.DecodeString(token[:strings.IndexByte(token, '.')])
	if err != nil {
		return false
	}
	return len(id) >= 17 && !strings.ContainsFunc(string(id), func(r rune) bool { return r < '0' || r > '9' })
}

// isAWSSecret: 40 characters of base 64 have 4.6 bits each or so, hex has 4.
func isAWSSecret(value string) bool { return entropy(value) >= 4.1 }

// entropy is that of Shannon, in bits a character, over a text's own characters:
// at most log2 of its length. Twenty characters by chance have 3.8 or so.
func entropy(text string) float64 {
	var count [256]int
	for i := range len(text) {
		count[text[i]]++
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(text))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}

// mix is what a text is made of.
type mix struct {
	lower, upper, digits, signs int
	turns                       int // from one of these to another
}

func mixOf(text string) (m mix) {
	last := -1
	for i := range len(text) {
		class := 3
		switch b := text[i]; {
		case b >= 'a' && b <= 'z':
			m.lower++
			class = 0
		case b >= 'A' && b <= 'Z':
			m.upper++
			class = 1
		case b >= '0' && b <= '9':
			m.digits++
			class = 2
		default:
			m.signs++
		}
		if i > 0 && class != last {
			m.turns++
		}
		last = class
	}
	return m
}

func (m mix) kinds() (n int) {
	for _, k := range []int{m.lower, m.upper, m.digits, m.signs} {
		if k > 0 {
			n++
		}
	}
	return n
}

// isRandom tells whether chance seems to have made a text, which no word, name,
// path or number of a version is: letters and at least two digits, mixed, and of
// as much entropy as its length allows. By chance one in ten characters of
// base 62 is a digit; a text of 20 fails for having fewer once in five times,
// and passes then by the case of its letters.
func isRandom(text string) bool {
	m := mixOf(text)
	letters := m.lower + m.upper
	if letters == 0 || m.signs*4 > len(text) || isStandIn(text) {
		return false
	}
	if m.digits < 2 && (m.digits+min(m.lower, m.upper) < 5 || m.signs > 0) {
		return false
	}
	return m.turns*5 >= len(text) && entropy(text) >= min(3, 0.8*math.Log2(float64(len(text))))
}

// isAPIKey is for what is assigned to a name such as api_key.
func isAPIKey(value string) bool {
	return !strings.Contains(value, "://") && strings.IndexByte("/.@#", value[0]) < 0 && !isDate(value) && isRandom(value)
}

// isPassword is for what is assigned to a name such as password: it need not be
// random, but a single word is more often the name of a variable than one.
func isPassword(value string) bool {
	m := mixOf(value)
	switch {
	case m.lower+m.upper == 0, m.digits == 0 && m.signs == 0, isStandIn(value), strings.Contains(value, "://"), strings.HasPrefix(value, "//"), strings.IndexByte("/@", value[0]) >= 0 && m.digits == 0:
		return false
	case m.digits == 0 && strings.Trim(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-/:+=") == "":
		return false // some.other.name
	}
	return entropy(value) >= 2.2
}

// isDate tells whether a value is a time as ISO 8601 writes it.
func isDate(value string) bool {
	return len(value) >= 10 && value[4] == '-' && value[7] == '-' && strings.Trim(value[:4], base62[:10]) == ""
}

// isFiller tells whether a text says of itself that it is no secret, or was
// typed without thought.
func isFiller(text string) bool {
	low := strings.ToLower(text)
	for _, word := range []string{
		"example", "placeholder", "changeme", "change-me", "change_me", "redacted", "dummy", "xxxx", "****", "....", "____",
		"your-", "your_", "yourapi", "yourkey", "yourtoken", "yoursecret", "yourpass", "insert", "replace",
		"1234567890", "0123456789", "abcdefghij", "${", "{{", "<", "%(",
	} {
		if strings.Contains(low, word) {
			return true
		}
	}
	run, longest := 0, 0
	for i := range len(text) {
		if i > 0 && text[i] == text[i-1] {
			run++
		} else {
			run = 1
		}
		longest = max(longest, run)
	}
	return longest*2 > len(text)
}

// isStandIn tells whether a value is a word that stands where a secret would.
func isStandIn(value string) bool {
	switch strings.ToLower(strings.Trim(value, "$%_-[](){}:.")) {
	case "", "password", "passwd", "pass", "pwd", "pw", "passphrase", "secret", "token", "key", "apikey", "api_key", "user", "username",
		"string", "str", "none", "null", "nil", "undefined", "true", "false", "test", "foo", "bar", "foobar", "bearer", "basic", "my_password", "mypassword", "password1", "password123":
		return true
	}
	return isFiller(value)
}
