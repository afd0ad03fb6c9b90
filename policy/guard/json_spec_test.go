package guard_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	"github.com/weir-gateway/weir/policy"
)

// This file says what the guards see of a channel of JSON. What is JSON, how
// far, and what an escape stands for is asked of encoding/json; the tokens are
// found by looking at the whole text again for every rune of it.

// specToken is a text as the guards see it, and where it stands in the source.
type specToken struct {
	content    string
	starts     []int // of each byte of content: where what stands for its rune begins in the source
	ends       []int // and ends
	form       specForm
	start, end int  // of a number or literal
	closed     bool // nothing comes after it
}

type specForm uint8

const (
	formPlain specForm = iota
	formString
	formScalar
)

func (t *specToken) add(content string, start, end int) {
	t.content += content
	for range len(content) {
		t.starts, t.ends = append(t.starts, start), append(t.ends, end)
	}
}

// plainToken is text that stands in the source as it is.
func plainToken(text string, from int, form specForm, closed bool) specToken {
	t := specToken{form: form, start: from, end: from + len(text), closed: closed}
	for i, r := range text {
		t.add(string(r), from+i, from+i+len(string(r)))
	}
	return t
}

var (
	stringSoFar = regexp.MustCompile(`^"((?s:[^"\\]|\\u[0-9a-fA-F]{4}|\\[^u])*)("?)`)
	stringUnits = regexp.MustCompile(`(?s)\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.|.`)
	firstHalf   = regexp.MustCompile(`^\\u[dD][89abAB]..$`)
	secondHalf  = regexp.MustCompile(`^(\\(u([dD]([c-fC-F][0-9a-fA-F]?)?)?)?)?$`)
)

const delimiters = " \t\r\n{}[]:,\""

// jsonTokens are the tokens of a text so far, and the offset from which on it
// must wait: of a number, literal or escape that is not whole.
func jsonTokens(text string, ended bool) (tokens []specToken, whole int) {
	// No JSON has a NUL, so the first byte that is wrong is there, or before it.
	var raw json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal([]byte(text+"\x00"), &raw); !errors.As(err, &syntax) {
		panic("NUL is taken for JSON")
	}
	good := int(syntax.Offset) - 1     // so far it is JSON
	final := ended || good < len(text) // nothing that is JSON follows
	whole = len(text)
	rest := good // from here on it is not JSON
	for i := 0; i < good; {
		n := strings.IndexAny(text[i:good], delimiters)
		switch {
		case n == 0 && text[i] == '"':
			found := stringSoFar.FindStringSubmatch(text[i:good])
			t := specToken{form: formString, closed: found[2] != "" || final}
			i++
			units := stringUnits.FindAllString(found[0][1:len(found[0])-len(found[2])], -1)
			for u, unit := range units {
				end := i + len(unit)
				if u == len(units)-1 && !t.closed && firstHalf.MatchString(unit) && secondHalf.MatchString(text[end:]) {
					whole = i
					break
				}
				var content string
				if json.Unmarshal([]byte(`"`+unit+`"`), &content) != nil {
					panic("not a unit: " + unit)
				}
				t.add(content, i, end)
				i = end
			}
			tokens = append(tokens, t)
			if i += len(found[2]); found[2] == "" {
				if whole == len(text) && i < good { // an escape that is not whole
					rest, whole = i, i
				}
				i = good
			}
		case n == 0:
			i++
		default:
			if n < 0 {
				n = good - i
			}
			follows := i+n < len(text) && strings.Contains(delimiters, text[i+n:i+n+1])
			switch scalar := text[i : i+n]; {
			case json.Valid([]byte(scalar)) && (follows || ended && i+n == len(text)):
				tokens = append(tokens, plainToken(scalar, i, formScalar, true))
			case i+n == good:
				rest, whole = i, i
			}
			i += n
		}
	}
	if final && rest < len(text) {
		tokens = append(tokens, plainToken(text[rest:], rest, formPlain, ended))
		whole = len(text)
	}
	return tokens, whole
}

// tokens are the texts that the guards see of a channel.
func (c *candidateSpec) tokens(ch policy.Channel, k int, ended bool) ([]specToken, int) {
	text := c.text(ch, k)
	if !ch.JSON() {
		return []specToken{plainToken(text, 0, formPlain, ended)}, len(text)
	}
	return jsonTokens(text, ended)
}

// written is a placeholder as it stands in the text.
func written(word string, form specForm) string {
	if form == formPlain {
		return word
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(word); err != nil {
		panic(err)
	}
	word = strings.TrimSuffix(b.String(), "\n")
	if form == formString {
		word = word[1 : len(word)-1]
	}
	return word
}

// on is what the rule does on a channel.
func (r specRule) on(ch policy.Channel) policy.Action {
	if _, name, call := ch.ToolCall(); call && r.action == policy.Redact && (name || !r.toolArgs) {
		return policy.Block
	}
	return r.action
}
