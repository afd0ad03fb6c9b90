package guard

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

// No secret stands in this repository, not even a made one that a scanner would
// take for real: these make them when a test runs, from the forms.

// makeSecret returns a text with a secret of a rule in it, and the secret.
func makeSecret(r *rand.Rand, rule *secretRule) (text, secret string) {
	switch rule.reader {
	case jwtReader:
		secret = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
			base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"`+chars(r, base64URL, 6, 12)+`"}`)) + "." + chars(r, base64URL, 43, 43)
		return secret, secret
	case pemReader:
		label := []string{"", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "}[r.IntN(5)]
		secret = "-----BEGIN " + label + "PRIVATE KEY-----\n" + chars(r, base64URL, 64, 64) + "\n" + chars(r, base64URL, 30, 60) + "\n-----END " + label + "PRIVATE KEY-----"
		return secret, secret
	case urlReader:
		secret = "p" + chars(r, base64URL, 5, 20) + "7"
		return "postgres://weir:" + secret + "@db.internal:5432/weir", secret
	}
	if rule.kind == "discord_token" {
		return makeDiscord(r)
	}
	own := *rule
	lits, err := own.prepare()
	if err != nil {
		panic(err)
	}
	lit := lits[r.IntN(len(lits))]
	for range 10_000 {
		body, value := "", ""
		for i, p := range own.parts {
			most := p.most
			if most == 0 {
				most = p.least + 24
			}
			set := p.set
			if rule.form == anyValue+`{6,}` || rule.form == anyValue+`{12,}` {
				set = base64URL // the rest may end a value
				most = p.least + 12
			}
			part := chars(r, set, p.least, most)
			if body += part; i >= own.from {
				value += part
			}
		}
		if rule.reader == namedReader {
			text = lit.text + []string{"", "_KEY", " for us", `"`}[r.IntN(4)] + []string{": ", "=", ` = "`, "：", ": '", " is "}[r.IntN(6)] + body
		} else {
			if value = lit.text[lit.from:] + value; rule.checked {
				body = body[:len(body)-6] + crcOf(body[:len(body)-6])
				value = lit.text + body
			}
			if rule.kind == "basic_auth" {
				value = base64.StdEncoding.EncodeToString([]byte("weir:" + chars(r, base64URL, 8, 20)))
				body = value
			}
			text = lit.text + body
			switch rule.kind {
			case "telegram_token":
				text = "8123456789" + text
			case "azure_client_secret":
				text = "abc8" + text
			}
		}
		last := value[len(value)-1]
		fits := (rule.reader != namedReader || !strings.Contains("=%", value[:1])) && last != '.' && last != ':' && last != '?' && !isFiller(value) && (own.valid == nil || own.valid(value))
		if fits {
			return text, value
		}
	}
	panic("no secret of kind " + rule.kind + " can be made")
}

func makeDiscord(r *rand.Rand) (text, secret string) {
	id := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "1%d", 10_000_000_000_000_000+r.Int64N(80_000_000_000_000_000)))
	secret = id + "." + chars(r, base64URL, 6, 6) + "." + chars(r, base64URL, 30, 38)
	return secret, secret
}

// chars are characters of a set by chance.
func chars(r *rand.Rand, set asciiSet, least, most int) string {
	var all []byte
	for c := rune('!'); c <= '~'; c++ {
		if set.has(c) {
			all = append(all, byte(c))
		}
	}
	var b strings.Builder
	for range least + r.IntN(most-least+1) {
		b.WriteByte(all[r.IntN(len(all))])
	}
	return b.String()
}
