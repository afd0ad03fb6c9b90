package guard

import (
	"math/rand/v2"
	"regexp/syntax"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
)

func secretFindings(t failer, rule, text string) (all []string) {
	s := compileText(t, "kind: Policy\nname: p\nsafety: {output: [{guard: secrets, action: flag"+rule+"}]}\n").Resolve(policy.Subject{}).Screen()
	s.Write(nil, policy.Piece{Text: text})
	s.End(nil, 0)
	for _, v := range s.Verdicts() {
		all = append(all, strings.TrimPrefix(v.Category, "secret/")+":"+text[v.Start:v.End])
	}
	return all
}

// generate makes a text that an expression matches. No real-looking secret
// stands in the repository: each is made when the test runs.
func generate(r *rand.Rand, re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCharClass:
		var fit []byte
		for c := byte('!'); c <= '~'; c++ {
			for i := 0; i < len(re.Rune); i += 2 {
				if re.Rune[i] <= rune(c) && rune(c) <= re.Rune[i+1] && !strings.ContainsRune("$%<", rune(c)) {
					fit = append(fit, c)
				}
			}
		}
		if len(fit) == 0 {
			return string(re.Rune[:1]) // white space, or Chinese
		}
		return string(fit[r.IntN(len(fit)):][:1])
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return "_"
	case syntax.OpCapture:
		return generate(r, re.Sub[0])
	case syntax.OpConcat:
		var b strings.Builder
		for _, sub := range re.Sub {
			b.WriteString(generate(r, sub))
		}
		return b.String()
	case syntax.OpAlternate:
		return generate(r, re.Sub[r.IntN(len(re.Sub))])
	case syntax.OpRepeat:
		n := re.Min
		if re.Max > n {
			n += r.IntN(re.Max - n + 1)
		}
		return repeat(n, func() string { return generate(r, re.Sub[0]) })
	case syntax.OpQuest:
		return repeat(r.IntN(2), func() string { return generate(r, re.Sub[0]) })
	case syntax.OpStar, syntax.OpPlus:
		return repeat(1+r.IntN(8), func() string { return generate(r, re.Sub[0]) })
	}
	return ""
}

func repeat(n int, one func() string) string {
	var b strings.Builder
	for range n {
		b.WriteString(one())
	}
	return b.String()
}

func TestEveryKindOfSecretIsFound(t *testing.T) {
	kinds := secretKinds()
	if len(kinds) < 60 {
		t.Errorf("%d kinds, want at least 60", len(kinds))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, form := range secretForms {
		re, err := syntax.Parse(form.expr, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			secret := generate(r, re)
			value := secret
			if form.part != nil {
				from, to := form.part(secret)
				value = secret[from:to]
			}
			if isExample(value) || form.valid != nil && !form.valid(value) {
				continue // chance has made what is no secret
			}
			text := "config: ( " + secret + " ) 结束"
			found := secretFindings(t, ", kinds: ["+form.name+"]", text)
			covered := false
			for _, f := range found {
				covered = covered || strings.HasPrefix(f, form.name+":") && strings.Contains(f, strings.TrimRight(value, "="))
			}
			if !covered {
				t.Errorf("%s: %q gives %q", form.name, text, found)
				break
			}
		}
	}
}

func TestSecretsAndWhatLooksLikeThem(t *testing.T) {
	body := strings.Repeat("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n", 20)
	key := "-----BEGIN RSA " + "PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AA\n\n" + body + "-----END RSA " + "PRIVATE KEY-----"
	for text, want := range map[string]string{
		"before " + key + " after":                            "private_key:" + key,
		"before " + key[:200]:                                 "private_key:" + key[:200], // never closed
		`password = "hunter2hunter2x9Q"`:                      "assigned_secret:hunter2hunter2x9Q",
		"密码是 aX9kQ2mZ7pL4":                                    "assigned_secret:aX9kQ2mZ7pL4",
		"password = ${DB_PASSWORD}":                           "",
		"password: changeme1234":                              "",
		"password: correcthorse":                              "", // no digit: a word
		"the secret: nobody knows":                            "",
		"api_key=xxxxxxxxxxxxxxxx1":                           "",
		"postgres://weir:s3cr3tPw@db:5432/x":                  "url_password:s3cr3tPw",
		"http://localhost:8080/a@b":                           "",
		"AKIAIOSFODNN7EXAMPLE":                                "", // Amazon's own example
		"XAKIAQWERTYUIOPASDFGH":                               "", // inside a word
		"git commit 3f786850e387550fdab836ed7e6dc881de23001b": "",
	} {
		if got := strings.Join(secretFindings(t, "", text), " | "); got != want {
			t.Errorf("%.60q: found %q, want %q", text, got, want)
		}
	}
	allowed := "AKIA" + "QWERTYUIOPASDFGH"
	if got := secretFindings(t, ", allow: ["+allowed+"]", "key "+allowed); got != nil {
		t.Errorf("an allowed value: %q", got)
	}
	if got := secretFindings(t, ", except: [aws_access_key]", "key "+allowed); got != nil {
		t.Errorf("an excepted kind: %q", got)
	}
}

// However the text is cut, no byte of a secret leaves, and the output is the
// same.
func TestNoByteOfASecretLeaves(t *testing.T) {
	e := compileText(t, "kind: Policy\nname: p\nsafety: {output: [{guard: secrets, action: redact}, {guard: lexicon, terms: [zorblatt], action: block}]}\n").Resolve(policy.Subject{})
	r := rand.New(rand.NewPCG(3, 4))
	var secrets []string
	for _, form := range secretForms {
		if re, err := syntax.Parse(form.expr, syntax.Perl); err == nil && form.valid == nil && form.part == nil {
			secrets = append(secrets, generate(r, re))
		}
	}
	begin, end := "-----BEGIN "+"PRIVATE KEY-----", "-----END "+"PRIVATE KEY-----"
	secrets = append(secrets, begin+"\r\nAbCd+/09\r\n"+end, begin+`\nAbCd\n`+strings.Repeat("q", 300))
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.SampledFrom(secrets).Draw(t, "secret")
		text := rapid.SampledFrom([]string{"", "say ", "密钥：", "a-b "}).Draw(t, "before") + secret + rapid.SampledFrom([]string{"", " and on", "。", " zorblatt"}).Draw(t, "after")
		run := func(cut func() int) string { out, _ := screened(e, text, cut); return out }
		whole, byteWise := run(func() int { return len(text) }), run(func() int { return 1 })
		random := run(func() int { return rapid.IntRange(1, 9).Draw(t, "cut") })
		if whole != byteWise || whole != random {
			t.Fatalf("%q:\nat once  %q\nbytewise %q\nrandomly %q", text, whole, byteWise, random)
		}
		if isExample(secret) {
			return
		}
		if strings.Contains(whole, secret[len(secret)/2:]) || strings.Contains(whole, secret[:len(secret)/2]) {
			t.Fatalf("%q leaks: %q", text, whole)
		}
	})
}
