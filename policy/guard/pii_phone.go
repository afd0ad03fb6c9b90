package guard

// Telephone numbers as people write them. Those with a country code have a form
// of their own (ITU-T E.164: at most 15 digits); national ones are told from
// other numbers by how they are grouped, or by a word before them.
var phoneForms = []entity{
	{expr: `(?:\+|00)[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,4}`, notAfter: besideNumber | sign | decimal, notBefore: besideNumber, valid: isInternational, score: sure},
	{expr: `(?:\+|00)[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,4}` + extension, notAfter: besideNumber | sign | decimal, notBefore: besideNumber, valid: digitsBetween(9, 20), score: sure},
	{expr: `00[1-9]\d{8,13}`, notAfter: besideNumber | sign | decimal, notBefore: besideNumber, score: unclear, contextScore: sure, context: phoneContext},
	{expr: `\(\d{2,4}\) ?\d{3,5}[ .-]?\d{3,4}(?:` + extension + `)?`, notAfter: besideNumber, notBefore: besideNumber, valid: isInBrackets, score: likely, unless: numberedThings},
	{expr: `(?:1[ .-])?[2-9]\d{2}[ .-]\d{3}[ .-]\d{4}(?:` + extension + `)?`, notAfter: besideNumber | dash | sign | decimal, notBefore: besideNumber | dash, score: likely, unless: numberedThings},
	{expr: `0[1-9]\d{0,3}[ .-]\d{2,4}(?:[ .-]\d{2,4}){1,3}`, notAfter: besideNumber | dash | sign | decimal, notBefore: besideNumber | dash, valid: isTrunkNumber, score: likely, unless: numberedThings},
	{expr: `0[1-9]\d{1,3}[ -]\d{6,8}`, notAfter: besideNumber | dash | sign | decimal, notBefore: besideNumber | dash, valid: digitsBetween(10, 12), score: likely, unless: numberedThings},
	{expr: `\(?\d{2,4}\)?(?:[ .-]?\d{2,4}){1,4}`, notAfter: besideNumber | dash | sign | decimal, notBefore: besideNumber | dash, valid: isNationalNumber, score: unclear, contextScore: likely, context: phoneContext, unless: numberedThings},
}

const extension = `,? ?(?:x|ext\.?|extension) ?\d{1,6}`

var phoneContext = []string{
	"phone", "telephone", "phones", "tel", "call", "calling", "mobile", "mob", "cell", "fax", "whatsapp", "dial", "contact", "reach", "hotline", "landline",
	"voicemail", "answering", "messages to", "text me", "text us", "my number", "his number", "her number", "their number", "sms", "desk:", "office:",
	"电话", "手机", "联系", "致电", "拨打", "座机", "热线", "传真", "来电", "短信",
}

// numberedThings are what numbers are given to that are grouped as telephone
// numbers are.
var numberedThings = []string{
	"order", "invoice", "ticket", "case", "ref", "reference", "tracking", "isbn", "issn", "serial", "part", "sku", "batch", "transaction",
	"订单", "单", "流水", "编", "编号", "序列", "批", "发票", "货", "工", "学", "型",
}

func digitsBetween(least, most int) func([]byte) bool {
	return func(s []byte) bool {
		n := countDigits(s)
		return n >= least && n <= most
	}
}

func countDigits(s []byte) (n int) {
	for _, b := range s {
		if isDigit(b) {
			n++
		}
	}
	return n
}

// isInternational leaves out numbers that are filled up with zeros: behind 00
// there must be groups.
func isInternational(s []byte) bool {
	n := countDigits(s)
	if s[0] == '0' {
		return n >= 10 && n <= 17 && n < len(s)
	}
	return n >= 8 && n <= 15
}

// isInBrackets wants as many digits as numbers with an area code have, and leaves
// out years, which stand in brackets too.
func isInBrackets(s []byte) bool {
	g := groupsOf(s)
	if n := g.digits; n < 8 {
		return false
	}
	return !g.isYear(0)
}

// isTrunkNumber leaves out days, which begin with 0 too.
func isTrunkNumber(s []byte) bool {
	g := groupsOf(s)
	return g.digits >= 9 && g.digits <= 11 && !g.isDate()
}

// isNationalNumber leaves out dates, times, spans of years, decimals and the
// numbers of machines, which are grouped as telephone numbers are.
func isNationalNumber(s []byte) bool {
	g := groupsOf(s)
	if g.digits < 7 || g.digits > 12 || g.isDate() {
		return false
	}
	dots := g.dots
	switch {
	case g.n == 1:
		unixTime := g.digits == 10 && s[0] == '1'
		day := g.digits >= 8 && g.isYear(0) && isDay(number(s[:4]), number(s[4:6]), number(s[6:8]))
		return !unixTime && !day
	case g.n == 2 && g.isYear(0) && g.isYear(1):
		return false
	case dots == 0:
		return true
	case dots == 1 && g.n == 2:
		return g.size[0] == 3 && g.size[1] == 4 // else decimals
	case dots == g.n-1 && g.n <= 4: // else an address of IP, or a part of one
		return g.digits >= 10 && g.size[g.n-1] >= 3 || g.n == 4 && g.digits == 8
	}
	return true
}

// groups are those of a number: what stands between its separators.
type groups struct {
	n, digits, dots int
	size, first     [12]int // of each: digits, and the value of the first four
}

func groupsOf(s []byte) (g groups) {
	within := false
	for _, b := range s {
		if !isDigit(b) {
			if b == '.' {
				g.dots++
			}
			within = false
			continue
		}
		if !within {
			if g.n == len(g.size) {
				return g
			}
			g.n++
			within = true
		}
		g.digits++
		at := g.n - 1
		if g.size[at]++; g.size[at] <= 4 {
			g.first[at] = 10*g.first[at] + int(b-'0')
		}
	}
	return g
}

// isYear tells whether a group is a year or begins with one.
func (g *groups) isYear(i int) bool { return g.size[i] >= 4 && g.first[i] >= 1900 && g.first[i] < 2100 }

// isDate tells whether the first groups are a day: year first, or last.
func (g *groups) isDate() bool {
	if g.n < 3 || g.size[1] > 2 || g.first[1] == 0 || g.first[1] > 31 {
		return false
	}
	yearFirst := g.size[0] == 4 && g.isYear(0) && g.size[2] <= 2
	yearLast := g.size[0] <= 2 && g.first[0] <= 31 && g.size[2] == 4 && g.isYear(2)
	return yearFirst || yearLast
}
