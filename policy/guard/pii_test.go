package guard

import (
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
)

// failer is what tests of both kinds, plain and rapid, can do.
type failer interface {
	Helper()
	Fatal(...any)
}

func compileText(t failer, document string) *policy.Set {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(document), &root); err != nil {
		t.Fatal(err)
	}
	d, err := policy.ParseDocument(root.Content[0])
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile(1, []policy.Document{d}, nil, All())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// compilePII returns what tells the findings of a rule in a text, each as
// entity:text.
func compilePII(t failer, options string) func(text string) []string {
	t.Helper()
	e := compileText(t, "kind: Policy\nname: p\nsafety: {output: [{"+strings.TrimSuffix("guard: pii, action: flag, "+options, ", ")+"}]}\n").Resolve(policy.Subject{})
	return func(text string) (all []string) {
		s := e.Screen()
		s.Write(nil, policy.Piece{Text: text})
		s.End(nil, 0)
		for _, v := range s.Verdicts() {
			all = append(all, strings.TrimPrefix(v.Category, "pii/")+":"+text[v.Start:v.End])
		}
		return all
	}
}

// piiFindings are the findings of a rule in one text.
func piiFindings(t failer, options, text string) string {
	t.Helper()
	return strings.Join(compilePII(t, strings.TrimPrefix(options, ", "))(text), " | ")
}

func TestPIIEntities(t *testing.T) {
	for text, want := range map[string]string{
		"pay with 4111 1111 1111 1111 today":         "credit_card:4111 1111 1111 1111",
		"pay with 4111-1111-1111-1112 today":         "", // wrong check digit
		"order 4111111111111111222222":               "", // inside a longer number
		"卡号6222021234567890123吗":                     "", // wrong check digit
		"mail Zhang.San@example.com.cn,please":       "email:Zhang.San@example.com.cn",
		"请联系张三zhang.san@example.com谢谢":               "email:zhang.san@example.com",
		"IBAN GB82 WEST 1234 5698 7654 32.":          "iban:GB82 WEST 1234 5698 7654 32",
		"IBAN GB82 WEST 1234 5698 7654 33.":          "",
		"from 192.168.1.254 to 256.1.1.1":            "ip_address:192.168.1.254",
		"at 12:30:45 we met 2001:db8::8a2e:370":      "ip_address:2001:db8::8a2e:370",
		"my ssn is 460-89-9847":                      "us_ssn:460-89-9847",
		"my ssn is 000-89-9847":                      "",
		"social security number 460899847":           "us_ssn:460899847",
		"身份证号11010519491231002X。":                    "cn_resident_id:11010519491231002X",
		"身份证号110105194912310021。":                    "",
		"统一社会信用代码91350100M000100Y43":                 "cn_uscc:91350100M000100Y43",
		"统一社会信用代码91350100M000100Y44":                 "",
		"请拨打13812345678联系":                           "cn_mobile:13812345678",
		"请拨打+86 138 1234 5678联系":                     "cn_mobile:+86 138 1234 5678",
		"编号1381234567812":                            "",
		"护照号码：E12345678":                             "cn_passport:E12345678",
		"model E12345678":                            "",
		"call me at +41 44 668 18 00":                "phone:+41 44 668 18 00",
		"call (212) 555-0123 x45":                    "phone:(212) 555-0123 x45",
		"in 2024-2025 we sold 1,234,567 units":       "",
		"a 2 by 4, 100 000 times, page 12-34":        "",
		"the hotel had 1234 5678 guests":             "",
		"they call 2024-2025 a good year":            "",
		"please call 1234 5678 tonight":              "phone:1234 5678",
		"车牌京A12345已登记":                               "cn_plate:京A12345",
		"车牌粤B·D12345已登记":                             "cn_plate:粤B·D12345",
		"NINO AB 12 34 56 C":                         "uk_nino:AB 12 34 56 C",
		"cpf 529.982.247-25":                         "br_cpf:529.982.247-25",
		"cpf 529.982.247-26":                         "",
		"RSSMRA85T10A562S":                           "it_fiscal_code:RSSMRA85T10A562S",
		"DNI 12345678Z":                              "es_nif:12345678Z",
		"HKID A123456(3)":                            "hk_id:A123456(3)",
		"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa":         "btc_address:1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
		"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4": "btc_address:bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
		"NIR 2 55 08 14 168 025 38":                  "fr_nir:2 55 08 14 168 025 38",
		"aadhaar 2341 2341 2346":                     "in_aadhaar:2341 2341 2346",
		"Steuer-ID 86095742719":                      "de_tax_id:86095742719",
		"mac 00:1A:2b:3c:4d:5e now":                  "mac_address:00:1A:2b:3c:4d:5e",
	} {
		if got := piiFindings(t, "", text); got != want {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
	if got := piiFindings(t, ", entities: [url]", "see https://example.com/a?b=c. Then www.example.org!"); got != "url:https://example.com/a?b=c | url:www.example.org" {
		t.Errorf("urls: %q", got)
	}
	if got := piiFindings(t, ", entities: [cn_passport], at: {cn_passport: 0.2}", "model E12345678"); got != "cn_passport:E12345678" {
		t.Errorf("a lower threshold: %q", got)
	}
}

func TestPIIRulesThatAreWrong(t *testing.T) {
	for rule, want := range map[string]string{
		"entities: [emial]":                `unknown entity "emial"`,
		"entities: []":                     "names none",
		"entities: [email], at: {iban: 1}": "does not look for",
		"at: {iban: 2}":                    "up to 1",
	} {
		var root yaml.Node
		if err := yaml.Unmarshal([]byte("{"+rule+"}"), &root); err != nil {
			t.Fatal(err)
		}
		_, err := PII(root.Content[0], policy.Env{Share: func(_ string, make func() (policy.Guard, error)) (policy.Guard, error) { return make() }})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", rule, err, want)
		}
	}
}

// Numbers with a right check digit are found among Chinese words; with a wrong
// one they are not.
func TestChineseNumbersByTheirCheckDigit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.SampledFrom([]string{"110105", "310101", "440106", "510104"}).Draw(t, "region") +
			fmt.Sprintf("%04d%02d%02d%03d", rapid.IntRange(1930, 2020).Draw(t, "year"), rapid.IntRange(1, 12).Draw(t, "month"), rapid.IntRange(1, 28).Draw(t, "day"), rapid.IntRange(0, 999).Draw(t, "sequence"))
		right := 0
		for i, c := range "10X98765432" {
			text := "我的身份证是" + body + string(c) + "，请查收" + strings.Repeat("。", i%2)
			if piiFindings(t, ", entities: [cn_resident_id]", text) != "" {
				right++
			}
		}
		if right != 1 {
			t.Fatalf("%d of eleven check characters are right for %s", right, body)
		}
	})
}
