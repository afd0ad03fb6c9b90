package guard

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/policy"
)

// Numbers of China made here, with the check digits that their standards want,
// computed in another way than the guard does; each comes with near misses.

func digitsAtRandom(r *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte(byte('0' + r.IntN(10)))
	}
	return b.String()
}

func oneOf[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// residentID: GB 11643. The check makes the sum of digit times 2^(17-i) mod 11
// equal to 1.
func residentID(r *rand.Rand) string {
	body := oneOf(r, []string{"110101", "310115", "440305", "510107", "330106", "420111", "610113", "230103"}) +
		fmt.Sprintf("%04d%02d%02d", 1940+r.IntN(75), 1+r.IntN(12), 1+r.IntN(28)) + digitsAtRandom(r, 3)
	return withCheck(body, "0123456789X", func(s string) bool {
		sum := 0
		for i := range len(s) {
			v := strings.IndexByte("0123456789X", s[i])
			sum = (sum*2 + v) % 11 // Horner
		}
		return sum == 1
	})
}

// uscc: GB 32100. The sum of value times 3^i, the check's weight being 1, is 0
// mod 31.
func uscc(r *rand.Rand) string {
	const alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
	body := oneOf(r, []string{"91", "92", "52", "12", "11", "93"}) + oneOf(r, []string{"110105", "310115", "440300", "330106"})
	for range 9 {
		body += string(alphabet[r.IntN(len(alphabet))])
	}
	return withCheck(body, alphabet, func(s string) bool {
		sum, weight := 0, 1
		for i := range len(s) - 1 {
			sum += strings.IndexByte(alphabet, s[i]) * weight
			weight = weight * 3 % 31
		}
		return (sum+strings.IndexByte(alphabet, s[len(s)-1]))%31 == 0
	})
}

// bankCard: a number of UnionPay; its digits, every second from the right
// doubled and summed up, make a multiple of ten.
func bankCard(r *rand.Rand) string {
	body := "62" + digitsAtRandom(r, oneOf(r, []int{13, 16}))
	return withCheck(body, "0123456789", func(s string) bool {
		sum := 0
		for i := range len(s) {
			v := int(s[len(s)-1-i] - '0')
			sum += v
			if i%2 == 1 {
				sum += v
				if v > 4 {
					sum -= 9
				}
			}
		}
		return sum%10 == 0
	})
}

func withCheck(body, alphabet string, right func(string) bool) string {
	for i := range len(alphabet) {
		if right(body + alphabet[i:i+1]) {
			return body + alphabet[i:i+1]
		}
	}
	panic("no check character for " + body)
}

// another changes the last character to one that is wrong.
func another(r *rand.Rand, s, alphabet string) string {
	for {
		if c := alphabet[r.IntN(len(alphabet))]; c != s[len(s)-1] {
			return s[:len(s)-1] + string(c)
		}
	}
}

// grouped puts separators in, as people write long numbers.
func grouped(r *rand.Rand, s string, sizes ...int) string {
	sep := oneOf(r, []string{"", "", " ", "-"})
	var out []string
	for _, n := range sizes {
		if n < len(s) {
			out = append(out, s[:n])
			s = s[n:]
		}
	}
	return strings.Join(append(out, s), sep)
}

// frames are sentences around a number.
var frames = []string{
	"您好，%s，请核对。", "我的%s谢谢", "%s", "请把资料发给%s，越快越好！", "（%s）", "\n%s\n", "订单20240315已生成，联系：%s。", "登记：%s；共3人，2024年到期", "“%s”",
}

// The Chinese entities, in sentences, with near misses as what is not to be
// found: precision and recall of each.
func TestChineseEntitiesInMadeSentences(t *testing.T) {
	const each = 400
	type maker struct {
		right, wrong func(*rand.Rand) (label, number string)
	}
	plate := func(r *rand.Rand, tail string) string {
		return oneOf(r, []string{"京", "沪", "粤", "浙", "苏", "川"}) + oneOf(r, []string{"A", "B", "C"}) + oneOf(r, []string{"", "·"}) + tail
	}
	label := func(label string, number func(*rand.Rand) string) func(*rand.Rand) (string, string) {
		return func(r *rand.Rand) (string, string) { return label, number(r) }
	}
	makers := map[string]maker{
		"cn_resident_id": {
			label("身份证号", func(r *rand.Rand) string { return grouped(r, residentID(r), 6, 8) }),
			label("身份证号", func(r *rand.Rand) string { return another(r, residentID(r), "0123456789X") }),
		},
		"cn_uscc": {
			label("统一社会信用代码", uscc),
			label("统一社会信用代码", func(r *rand.Rand) string { return another(r, uscc(r), "0123456789ABCDEFGHJKLMNPQRTUWXY") }),
		},
		"cn_bank_card": {
			label("银行卡号", func(r *rand.Rand) string { return grouped(r, bankCard(r), 4, 4, 4, 4) }),
			label("银行卡号", func(r *rand.Rand) string { return another(r, bankCard(r), "0123456789") }),
		},
		"cn_mobile": {
			label("电话", func(r *rand.Rand) string {
				return oneOf(r, []string{"", "", "+86 ", "+86", "86-"}) + grouped(r, "1"+oneOf(r, []string{"38", "59", "76", "88", "99", "50"})+digitsAtRandom(r, 8), 3, 4)
			}),
			label("流水号", func(r *rand.Rand) string { // one digit too many, or a prefix that none has
				return oneOf(r, []string{"138" + digitsAtRandom(r, 9), "12" + digitsAtRandom(r, 9), "9138" + digitsAtRandom(r, 8)})
			}),
		},
		"cn_passport": {
			label("护照号码", func(r *rand.Rand) string {
				return oneOf(r, []string{"E" + digitsAtRandom(r, 8), "EA" + digitsAtRandom(r, 7), "G" + digitsAtRandom(r, 8), "P" + digitsAtRandom(r, 8)})
			}),
			label("型号", func(r *rand.Rand) string { return "E" + digitsAtRandom(r, 8) }),
		},
		"cn_plate": {
			label("车牌", func(r *rand.Rand) string { return plate(r, oneOf(r, []string{"", "D", "F"})+digitsAtRandom(r, 5)) }),
			label("车站", func(r *rand.Rand) string { return plate(r, oneOf(r, []string{"座", "口", ""})+digitsAtRandom(r, 2)) }),
		},
		"cn_landline": {
			label("座机", func(r *rand.Rand) string {
				return oneOf(r, []string{"010-", "021-", "0755-"}) + oneOf(r, []string{"6", "8", "2"}) + digitsAtRandom(r, 7)
			}),
			label("页码", func(r *rand.Rand) string { return "12-" + digitsAtRandom(r, 4) }),
		},
	}
	r := rand.New(rand.NewPCG(4, 11643))
	e := compileText(t, "kind: Policy\nname: p\nsafety: {output: [{guard: pii, action: flag}]}\n").Resolve(policy.Subject{})
	for _, name := range slices.Sorted(maps.Keys(makers)) {
		var right, wrong, missed int
		for i := range 2 * each {
			m := makers[name].right
			if i >= each {
				m = makers[name].wrong
			}
			said, number := m(r)
			text := fmt.Sprintf(oneOf(r, frames), said+oneOf(r, []string{"", "：", "是", ": ", " "})+number)
			s := e.Screen()
			for rest := text; rest != ""; { // in pieces that cut runes
				n := min(1+r.IntN(9), len(rest))
				s.Write(nil, policy.Piece{Text: rest[:n]})
				rest = rest[n:]
			}
			s.End(nil, 0)
			from := strings.LastIndex(text, number)
			hit := false
			for _, v := range s.Verdicts() {
				if v.Category != "pii/"+name {
					continue
				}
				whole := int(v.Start) == from && int(v.End) == from+len(number)
				hit = hit || whole
				if !whole || i >= each {
					wrong++
					t.Logf("wrong %q in %q", text[v.Start:v.End], text)
				}
			}
			switch {
			case i < each && hit:
				right++
			case i < each:
				missed++
				t.Logf("missed %q in %q", number, text)
			}
		}
		precision := float64(right) / float64(cmp.Or(right+wrong, 1))
		recall := float64(right) / float64(right+missed)
		t.Logf("%-15s right %d wrong %d missed %d: precision %.3f, recall %.3f", name, right, wrong, missed, precision, recall)
		if precision < 0.95 || recall < 0.95 {
			t.Errorf("%s: below 0.95", name)
		}
	}
}

// What was added for those who name it.
func TestOptionalEntities(t *testing.T) {
	for text, want := range map[string]string{
		"DOB: 12/03/1990, seen 14/03/2020": "date_of_birth:12/03/1990 | date_of_birth:14/03/2020", // the word is near both
		"born on March 12, 1990.":          "date_of_birth:March 12, 1990",
		"出生日期：1990年3月12日。":                 "date_of_birth:1990年3月12日",
		"生日19900312":                       "date_of_birth:19900312",
		"生日19901312":                       "",
		"born 31.02.1990":                  "",
		"released on 12/03/1990":           "",
		"a newborn 12/03/1990":             "",
		"GPS 31.2304, 121.4737":            "coordinates:31.2304, 121.4737",
		"坐标：31.230416,121.473701":          "coordinates:31.230416,121.473701",
		"GPS 91.2304, 121.4737":            "",
		"vector 0.1234, 0.5678":            "",
		"at 51.5074° N, 0.1278° W":         "coordinates:51.5074° N, 0.1278° W",
	} {
		if got := piiFindings(t, ", entities: [date_of_birth, coordinates]", text); got != want {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed": "eth_address:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", // of EIP-55
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD": "",
		"0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed": "eth_address:0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
		"0x0000000000000000000000000000000000000000": "",
		"call +1-903-140-4508x769":                   "phone:+1-903-140-4508x769",
		"军字第12345678号":                               "cn_officer_id:军字第12345678号",
		"军字第123456789号":                              "",
	} {
		if got := piiFindings(t, "", text); got != want {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
	// Of two entities at one place the surer one is told, though its name comes
	// later.
	if got := piiFindings(t, ", entities: [br_cpf, cn_mobile], at: {br_cpf: 0.2}", "13800000091"); got != "cn_mobile:13800000091" {
		t.Errorf("two at one place: %q", got)
	}
}
