package guard

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

func openSecrets(t testing.TB, keys string) policy.Guard {
	t.Helper()
	g, err := makeSecrets(keys)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func makeSecrets(keys string) (policy.Guard, error) {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(keys), &n); err != nil {
		return nil, err
	}
	return Secrets(n.Content[0], policy.Env{
		Lexicon: func(string) (policy.Lexicon, bool) { return policy.Lexicon{}, false },
		Share:   func(_ string, make func() (policy.Guard, error)) (policy.Guard, error) { return make() },
	})
}

// reporter is a test, of rapid or not.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// secretsIn reads a text in steps of some bytes and returns what of it no other
// match contains. It checks what a Stream promises on the way.
func secretsIn(t reporter, g policy.Guard, text string, cut func(int) bool) (out []policy.Span) {
	t.Helper()
	s := g.Open()
	bound, _ := g.Bound()
	var found []policy.Span
	last := 0
	step := func(upTo int) {
		n := len(found)
		found = s.Scan(text[last:upTo], found)
		for i, f := range found[n:] {
			if f.Start < 0 || f.Start >= f.End || f.End > f.At || f.At > int64(upTo) || f.At <= int64(last) || n+i > 0 && f.End < found[n+i-1].End {
				t.Fatalf("%q: match %+v after %+v, read from %d to %d", text, f, found[:n+i], last, upTo)
			}
		}
		last = upTo
		if s.Live() > s.Hold() || s.Hold() > int64(upTo) || int64(upTo)-s.Hold() > int64(bound) {
			t.Fatalf("%q: at %d: live %d, hold %d, bound %d", text, upTo, s.Live(), s.Hold(), bound)
		}
	}
	for i := range text {
		if i > 0 && cut(i) {
			step(i)
		}
	}
	step(len(text))
	found = s.Close(found)
	if s.Hold() != int64(len(text)) || s.Live() != int64(len(text)) {
		t.Fatalf("%q: something is live after the end", text)
	}
	for i, f := range found {
		inside := false
		for j, o := range found {
			inside = inside || j != i && o.Start <= f.Start && f.End <= o.End && (o.Start != f.Start || o.End != f.End || j > i)
		}
		if !inside {
			out = append(out, f)
		}
	}
	return out
}

func whole(int) bool { return false }

// kindsAndTexts is what was found, as kind:text.
func kindsAndTexts(g policy.Guard, text string, spans []policy.Span) (all []string) {
	for _, f := range spans {
		all = append(all, strings.TrimPrefix(g.Kinds()[f.Kind].Category, "secret/")+":"+text[f.Start:f.End])
	}
	return all
}

func TestEveryKindOfSecretIsFound(t *testing.T) {
	kinds := secretKinds()
	if len(kinds) < 60 {
		t.Errorf("%d kinds, want at least 60", len(kinds))
	}
	r := rand.New(rand.NewPCG(1, 2))
	all := openSecrets(t, "{}")
	for _, rule := range secretRules() {
		one := openSecrets(t, "{kinds: ["+rule.kind+"]}")
		for range 12 {
			made, secret := makeSecret(r, &rule)
			text := "配置 (" + made + "\n) 完"
			if got := kindsAndTexts(one, text, secretsIn(t, one, text, whole)); !slices.Contains(got, rule.kind+":"+secret) {
				t.Errorf("%s %s: %q gives %q, want %q", rule.kind, rule.form, text, got, secret)
				break
			}
			// Among all kinds another may say as much of it, or be longer.
			covered := false
			for _, f := range secretsIn(t, all, text, whole) {
				covered = covered || strings.Contains(text[f.Start:f.End], secret)
			}
			if !covered {
				t.Errorf("%s: %q is not found among all kinds", rule.kind, text)
				break
			}
			// One character less, or a wrong one in it, is none of a fixed form.
			if rule.checked {
				at := len(secret) - 1 - r.IntN(6)
				wrong := secret[:at] + string(rune('a'+(secret[at]+1)%26)) + secret[at+1:]
				if got := secretsIn(t, one, wrong, whole); wrong != secret && got != nil {
					t.Errorf("%s: %q with a wrong checksum is found", rule.kind, wrong)
				}
			}
		}
	}
}

// A token that is too short or too long, or stands inside a word, is none.
func TestNearMissesOfTokens(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, rule := range secretRules() {
		if rule.reader != tokenReader || rule.kind == "basic_auth" || rule.kind == "discord_token" || rule.kind == "curl_password" {
			continue
		}
		one := openSecrets(t, "{kinds: ["+rule.kind+"]}")
		own := rule
		lits, err := own.prepare()
		if err != nil {
			t.Fatal(err)
		}
		last := own.parts[len(own.parts)-1]
		exact := true // no part may be left out, so what is one shorter is none
		for _, p := range own.parts {
			exact = exact && p.least == p.most
		}
		for _, other := range secretRules() { // another form of the kind may fit
			exact = exact && (other.kind != rule.kind || other.form == rule.form)
		}
		text, secret := makeSecret(r, &rule)
		misses := map[string]string{}
		if exact {
			misses["shorter"] = text[:len(text)-1] + " "
			for c := rune('!'); c <= '~' && !rule.checked; c++ {
				if last.set.has(c) {
					misses["longer by "+string(c)] = text + string(c)
				}
			}
		}
		if exact && rule.notBefore&besideWord == besideWord {
			misses["followed by a letter"] = text + "Z"
		}
		if exact && rule.notAfter == besideWord {
			misses["in a word"] = strings.Replace(text, secret, "Z"+secret, 1)
			if own.from > 0 || !strings.HasPrefix(text, secret) {
				misses["in a word"] = "Z" + text
			}
		}
		if flipped := strings.ToUpper(lits[0].text); exact && lits[0].exact && flipped != lits[0].text {
			misses["in the other case"] = strings.Replace(text, lits[0].text, flipped, 1)
		}
		for what, miss := range misses {
			if got := kindsAndTexts(one, miss, secretsIn(t, one, miss, whole)); got != nil {
				t.Errorf("%s %s, %s: %q is found in %q", rule.kind, rule.form, what, got, miss)
			}
		}
	}
}

func TestSecretsAndWhatLooksLikeThem(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	key := chars(r, base64URL, 60, 60)
	begin, end := "-----BEGIN RSA "+"PRIVATE KEY-----", "-----END RSA "+"PRIVATE KEY-----"
	body := strings.Repeat(chars(r, base64URL, 64, 64)+"\n", 20)
	pem := begin + "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AA\n\n" + body + end
	escaped := strings.ReplaceAll(pem, "\n", `\n`)
	ssh2 := "---- BEGIN SSH2 ENCRYPTED " + "PRIVATE KEY ----\nabc\n---- END SSH2 ENCRYPTED " + "PRIVATE KEY ----"
	pgp := "-----BEGIN PGP " + "PRIVATE KEY BLOCK-----\n\nabc\n=AbCd\n-----END PGP " + "PRIVATE KEY BLOCK-----"
	cert := "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----"
	_, jwt := MakeSecretIn(r, "jwt")
	_, github := MakeSecretIn(r, "github_token")
	model := chars(r, asciiSet{0x03FF << 48, 0x07FFFFFE << 32}, 20, 20) + "b7Kd93kfH2m0"
	pass := "hunter" + "2x9Q"
	for _, c := range []struct{ text, want string }{
		{"a " + pem + " b", "private_key:" + pem},
		{"a " + strings.ReplaceAll(pem, "\n", "\r\n") + " b", "private_key:" + strings.ReplaceAll(pem, "\n", "\r\n")},
		{`{"k": "` + escaped + `\n"}`, "private_key:" + escaped},
		{ssh2 + " b", "private_key:" + ssh2},
		{pgp + "\nb", "private_key:" + pgp},
		{"a " + begin + "\nabc", "private_key:" + begin + "\nabc"}, // never closed
		{begin + cert + end + "x", "private_key:" + begin + cert + end},
		{cert, ""}, {"-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----", ""},
		{"-----BEGIN PRIVATE KEYS-----\nabc", ""},

		{`password = "` + pass + `"`, "password:" + pass},
		{`"password":"` + pass + `",`, "password:" + pass},
		{`{\"db_password\": \"` + pass + `\"}`, "password:" + pass},
		{"PASSWORD: " + pass + ".", "password:" + pass},
		{"**Password:** `" + pass + "`", "password:" + pass},
		{"my password is " + pass + ", you know", "password:" + pass},
		{"The `password` is '" + pass + "'", "password:" + pass},
		{"<password>" + pass + "</password>", "password:" + pass},
		{"Server=db;Password=" + pass + ";Database=x", "password:" + pass},
		{"密码是" + pass + "，别忘了", "password:" + pass},
		{"数据库密码：" + pass + "。", "password:" + pass},
		{"密码为“" + pass + "”", "password:" + pass},
		{"https://x.test/?password=" + pass + "&a=b", "password:" + pass},
		{"DB_PASS=1 PASSWORD := " + pass + "\n", "password:" + pass},
		{"password => '" + pass + "',", "password:" + pass},
		{"password = ${DB_PASSWORD}", ""}, {"password: changeme1234", ""}, {"password: correcthorse", ""},
		{`password = os.environ["DB_PASS"]`, ""}, {"password = getPassword2(user)", ""}, {"password: String2", "password:String2"},
		{"password=%s", ""}, {"password={{ db_pass1 }}", ""}, {"password: <your-password1>", ""}, {`password: ""`, ""}, {`password = "password123"`, ""},
		{"the secret: nobody knows", ""}, {"change your password http://t.test/aB3dE", ""}, {"password is required", ""}, {"the password is 8-16 characters long", ""},
		{`"a password: 8 signs or more, 1 digit"`, ""}, {"token: user.token2_name", ""}, {"secret = settings.SECRET_KEY_V2", ""},
		{"api_key=xxxxxxxxxxxxxxxx1", ""}, {"api_key = 'YOUR_API_KEY_123'", ""}, {"token_expires: 2024-06-01T12:00:00Z", ""},
		{"max_tokens: 4096, temperature: 0.7", ""}, {"api_key: https://x.test/keys/a1b2c3d4e5f6a7b8", ""},
		{"access_key: " + key[:40], "api_key:" + key[:40]},
		{"access token " + key[:40], ""}, // nothing assigns it

		{"postgres://weir:s3cr3tPw@db:5432/x", "url_password:s3cr3tPw"},
		{"https://weir:s3@cr3tPw@db.test/x", "url_password:s3@cr3tPw"},
		{"redis://:s3cr3tPw@db", "url_password:s3cr3tPw"},
		{"http://localhost:8080/a@b", ""}, {"mailto://a@b.test", ""}, {"https://x.test/a:b@c", ""},
		{"postgres://user:password@host/db", ""}, {"postgres://user:${PASS}@host/db", ""}, {"amqp://u:<password>@host", ""}, {"http://a:b1c@", ""},

		{"Authorization: Bearer " + key, "bearer_token:" + key},
		{"the bearer of this letter", ""}, {"Bearer xxxxxxxxxxxxxxxxxxxxxxxxxx", ""},
		{"Basic authentication", ""}, {"Basic information", ""},
		{"AKIA" + "IOSFODNN7EXAMPLE", ""},  // Amazon's own example
		{"XAKIA" + "QWERTYUIOPASDFGH", ""}, // inside a word
		{`x\nAKIA` + "QWERTYUIOPASDFGH", "aws_access_key:AKIA" + "QWERTYUIOPASDFGH"},
		{"git commit 3f786850e387550fdab836ed7e6dc881de23001b", ""}, {"task-3f786850e387550fdab836ed7e6dc881", ""},
		{"eyJhbGciOiJub25lIn0." + "eyJhIjoxfQ.", "jwt:eyJhbGciOiJub25lIn0." + "eyJhIjoxfQ."}, // {"alg":"none"}
		{"eyJhIjoxfQ.eyJhIjoxfQ.abcdefgh", ""},                                               // a header without alg
		{"npm_config_registry_and_some_more_names1", ""},
		{jwt + ".more", "jwt:" + jwt}, {"See " + jwt + ".", "jwt:" + jwt},

		// Of two that fit one place, the one that says more.
		{"Bearer " + github, "github_token:" + github}, {"password = '" + github + "'", "github_token:" + github},
		{"Authorization: Bearer " + jwt + "\n", "jwt:" + jwt},
		{"DEEPSEEK_API_KEY=sk-" + model, "deepseek_key:sk-" + model}, {"OTHER_API_KEY=sk-" + model, "model_api_key:sk-" + model},
		{"aws_secret: " + model[:20], "api_key:" + model[:20]}, // too short for one of AWS
	} {
		g := openSecrets(t, "{}")
		if got := strings.Join(kindsAndTexts(g, c.text, secretsIn(t, g, c.text, whole)), " | "); got != c.want {
			t.Errorf("%.80q: found %.200q, want %.200q", c.text, got, c.want)
		}
	}
}

func TestSecretsThatAreAllowed(t *testing.T) {
	token := "AKIA" + "QWERTYUIOPASDFGH"
	for keys, want := range map[string]bool{
		"{}": true, "{allow: [" + token + "]}": false, "{allow: [AKIA]}": true, "{except: [aws_access_key]}": false,
		"{kinds: [aws_access_key]}": true, "{kinds: [jwt, password]}": false,
	} {
		g := openSecrets(t, keys)
		if got := secretsIn(t, g, "use "+token+" now", whole); (got != nil) != want {
			t.Errorf("%s: found %v", keys, got)
		}
	}
}

func TestSecretsProblems(t *testing.T) {
	for keys, want := range map[string]string{
		"{kinds: [github]}":             "kinds[0]: unknown kind \"github\"",
		"{except: [jwt, jvt]}":          "except[1]: unknown kind",
		"{kinds: [jwt], except: [jwt]}": "nothing is left",
		"{kinds: []}":                   "nothing is left",
		"{allow: ['']}":                 "allow[0]",
		"{entropy: 3}":                  "entropy",
		"{kinds: [a], except: [b]}":     "except[0]",
	} {
		if _, err := makeSecrets(keys); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", keys, err, want)
		}
	}
}

// A form that cannot be read without going back is refused when the guard is
// made.
func TestFormsThatCannotBeRead(t *testing.T) {
	for _, form := range []string{`[a-z]{3}`, `a[a-z]{2,3}b`, `a[a-z]?[a-f]{2}`, `a(?:b|cd)`, `abc`, `a[a-z]{3,}-[0-9]`, `a.{3}\b`, `a[x]*?(?:b[0-9]){2}`} {
		r := secretRule{kind: "x", form: form}
		if _, err := r.prepare(); err == nil {
			t.Errorf("%s is taken", form)
		}
	}
}

// A token longer than what is held is decided when it is that long, and goes on
// to its end.
func TestALongSecretDoesNotLeak(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	g := openSecrets(t, "{}")
	for _, opening := range []string{"glpat-", "sk-proj-", "Bearer ", "api_key=", `password: "`} {
		for _, n := range []int{maxSecret - 20, maxSecret + 20, 5000} {
			value := chars(r, base64URL, n, n)
			text := "a " + opening + value + "\" b"
			if opening == "api_key=" || opening == "Bearer " {
				text = "a " + opening + value + " b"
			}
			for _, every := range []int{1, 7, 100, 1 << 20} {
				got := secretsIn(t, g, text, func(i int) bool { return i%every == 0 })
				if len(got) != 1 || text[:got[0].End][strings.LastIndex(text[:got[0].End], value):] != value {
					t.Errorf("%s with %d bytes by %d: %v", opening, n, every, got)
				}
			}
		}
	}
}

// Nothing of the body of a key is held, and what a stream keeps does not grow
// with it.
func TestAPrivateKeyIsNotHeld(t *testing.T) {
	g := openSecrets(t, "{}")
	s := g.Open().(*secretStream)
	s.Scan("-----BEGIN "+"PRIVATE KEY-----\n", nil)
	line := strings.Repeat("Ab+/", 16) + "\n"
	for range 5000 {
		s.Scan(line, nil)
		if s.Hold() != s.pos || s.Live() != 0 {
			t.Fatalf("at %d: hold %d, live %d", s.pos, s.Hold(), s.Live())
		}
	}
	if n := cap(s.recent) + len(s.live); n > 8*s.keep {
		t.Errorf("%d bytes are kept", n)
	}
}

// TestWhatIsHeldOfSecrets: only what can become part of one, and of names
// nothing.
func TestWhatIsHeldOfSecrets(t *testing.T) {
	g := openSecrets(t, "{}")
	for text, want := range map[string]int{
		"": 0, "x AKI": 3, "xAKI": 0, "aki": 0, "AWS_SE": 2, "tok": 0, "password": 0, "password = ": 0, `password = "ab`: 2, `password = "ab"`: 0, "ghp_": 4, "a ghp_1": 5,
		"https://": 0, "https://user": 0, "https://user:": 0, "https://user:pw": 2, "https://user:pw@": 3, "https://user:pw/": 0, "-----BEGIN RSA ": 15, "-----BEGIN CERTIFICATE--": 2,
		"eyJab": 5, "Bearer ": 0, "Bearer ab": 2, "Basic a": 1, "dingtalk.com/robot/send?access_token=": 0, "dingtalk.com/robot/send?access_token=ab": 2, "sk-a z": 0, "task-z": 0, "密码是a": 1,
	} {
		s := g.Open()
		s.Scan(text, nil)
		if got := len(text) - int(s.Hold()); got != want {
			t.Errorf("%q: %d bytes are held, want %d", text, got, want)
		}
	}
}

// TestFollowersAreFew: a text of nothing but openings, one in another, makes no
// more followers than what is held can begin, or than there are rules.
func TestFollowersAreFew(t *testing.T) {
	g := openSecrets(t, "{}")
	for _, opening := range []string{"glpat-", "sk-proj-", "-----BEGIN " + "PRIVATE KEY-----", "secret_secret=", "Bearer a.", "eyJ", "xoxb-a", "://a:b@c", "password=a1", "EAAA", "s.", "\"token\": \""} {
		s := g.Open().(*secretStream)
		most := 0
		for range 3000 {
			s.Scan(opening, nil)
			most = max(most, len(s.live))
		}
		if most > maxSecret {
			t.Errorf("%q again and again: %d followers", opening, most)
		}
	}
}
