package guard

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy/fold"
)

// payload finds what is in a segment beside phrases: markers, text that nobody
// sees, encoded and disguised text, and addresses that carry data away.
type payload struct {
	base64, escapes, json decoding
	loose                 reading
	folded                []byte // a segment whose signs are not ASCII, as folded
}

func (p *payload) open(b phrases) {
	p.base64, p.escapes, p.json = newDecoding(fold.Base64, b.plain), newDecoding(fold.Encoded, b.plain), newDecoding(fold.JSON, b.plain)
	p.loose = newReading(b.loose)
}

func (p *payload) copyFrom(f *payload) {
	p.base64.copyFrom(&f.base64)
	p.escapes.copyFrom(&f.escapes)
	p.json.copyFrom(&f.json)
}

// read returns the signals of a segment that has the bytes that had tells of.
// What was seen on the way, and the families in hits, were found when it was
// read plainly. The last segment is that with which the text ends.
func (p *payload) read(segment []byte, had uint8, seen *reading, hits signalSet, last bool) (out signalSet) {
	if seen.sign { // full width signs and the like
		p.folded = p.folded[:0]
		for rest := segment; len(rest) > 0; {
			r, n := decode(rest)
			rest = rest[n:]
			if r == '\u2581' { // what DeepSeek's templates write for a space
				r = '_'
			}
			p.folded = utf8.AppendRune(p.folded, foldSign(r))
		}
		out |= markers(p.folded)
	}
	if had&hasSign != 0 {
		out |= markers(segment) | carriesAway(segment)
	}
	if seen.quiet {
		out |= hidden(segment)
	}
	decoded := p.base64.read(segment, longRun(segment) || p.base64.open, last)
	p.base64.open = p.base64.open && endsInRun(segment)
	few := had&hasEscape != 0
	decoded |= p.escapes.read(segment, few && bytes.Count(segment, []byte{'%'})+bytes.Count(segment, []byte("&#")) >= fewEscapes, last)
	decoded |= p.json.read(segment, few && bytes.Count(segment, []byte(`\u`)) >= fewEscapes, last)
	if weigh(decoded&^hits) >= defaultAt {
		out |= 1 << signalEncoded
	}
	if seen.apart || had&hasDigit != 0 && replaced(segment) {
		p.loose.begin()
		if p.loose.readLoose(segment)&^hits != 0 {
			out |= 1 << signalDisguised
		}
	}
	return out
}

// foldSign is r as folded, where that is one rune.
func foldSign(r rune) rune {
	if one, more := fold.Rune(r); len(more) == 0 && one >= 0 {
		return one
	}
	return r
}

// ---- markers

// templates are marks that models are trained on: who writes them into a text
// wants it to be taken for somebody else's. From the published chat templates
// of OpenAI (ChatML), Llama 2 and 3, Gemma, Mistral, DeepSeek and Phi.
var templates = []string{
	"<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>", "<|endofprompt|>",
	"<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|begin_of_text|>", "<|end_of_text|>", "<|channel|>", "<|message|>", "<|start|>",
	"<<sys>>", "<</sys>>", "[inst]", "[/inst]", "[system_prompt]", "[available_tools]", "<start_of_turn>", "<end_of_turn>", "<|tool_call|>",
	"<|begin_of_sentence|>", "<|end_of_sentence|>", "<|begin of sentence|>", "<|end of sentence|>",
}

// roles are marks of the same kind that other writing has as well.
var roles = []string{
	"<system>", "</system>", "<system_prompt>", "<system prompt>", "</system_prompt>", "<system message>", "<system override>", "<admin>", "</user>", "</user_input>",
	"[system]", "[system:", "[system message]", "[system prompt]", "[system note", "[system override]", "[admin]", "[assistant](#", "[user](#", "[system](#",
	"### instruction:", "###instruction", "### system", "### new instruction", "##system", "#system",
}

// markers tells of the marks in a text.
func markers(text []byte) (out signalSet) {
	for i, c := range text[:max(0, len(text)-1)] {
		if !firstOfMarkers[c] || !secondOfMarkers[smallLetter(text[i+1])] {
			continue
		}
		begins := func(mark string) bool { return beginsWith(text[i:], mark) }
		switch {
		case slices.ContainsFunc(templates, begins):
			out |= 1 << signalTemplate
		case slices.ContainsFunc(roles, begins):
			out |= 1 << signalRole
		}
	}
	return out
}

var firstOfMarkers, secondOfMarkers = func() (first, second [256]bool) {
	for _, m := range slices.Concat(templates, roles) {
		first[m[0]], second[m[1]] = true, true
	}
	return first, second
}()

// beginsWith compares without regard to the case of ASCII; the word is in lower
// case.
func beginsWith(text []byte, word string) bool {
	if len(text) < len(word) {
		return false
	}
	for i := range len(word) {
		if smallLetter(text[i]) != word[i] {
			return false
		}
	}
	return true
}

func smallLetter(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// ---- text that nobody sees

// hidden tells of writing that nobody sees. Flags of regions are written with
// tags behind a black flag (UTS #51), one variation selector belongs to what it
// follows, joiners belong to emoji and to Indic and Persian writing, and
// isolates to Arabic and Hebrew: none of these hides anything.
func hidden(segment []byte) (out signalSet) {
	tags, selectors, unseen, inRow, turned, seen := 0, 0, 0, 0, 0, 0
	flag, rightToLeft := false, false
	for i := 0; i < len(segment); {
		r, n := decode(segment[i:])
		i += n
		_, tag := fold.Tag(r)
		switch {
		case tag || r == 0xE007F:
			if tag && !flag {
				tags++
			}
			continue // tags do not end what is behind a flag
		case 0xFE00 <= r && r <= 0xFE0F, 0xE0100 <= r && r <= 0xE01EF:
			if selectors++; selectors >= 4 {
				out |= 1 << signalHidden
			}
			continue
		case r == 0x200B, r == 0x2060, r == 0xFEFF, r == 0x180E, 0x2061 <= r && r <= 0x2064:
			unseen++
			fallthrough
		case r == 0x200C, r == 0x200D:
			if inRow++; inRow >= 8 {
				out |= 1 << signalHidden
			}
			continue
		case r == 0x202D, r == 0x202E: // shown in another order than it is read
			turned += 2
		case 0x202A <= r && r <= 0x202C, 0x2066 <= r && r <= 0x2069:
			turned++
		case 0x0590 <= r && r <= 0x08FF, 0xFB1D <= r && r <= 0xFDFF, 0xFE70 <= r && r <= 0xFEFC:
			rightToLeft = true
		}
		flag, selectors, inRow = r == 0x1F3F4, 0, 0
		if r > ' ' {
			seen++
		}
	}
	if tags >= 4 {
		out |= 1 << signalHidden
	}
	if turned >= 3 && !rightToLeft || unseen >= 4 && 4*unseen >= seen {
		out |= 1 << signalStrewn
	}
	return out
}

// ---- encoded text

// decoding reads by the plain book what text says in a view that undoes an
// encoding.
type decoding struct {
	reader fold.Reader
	inner  reading
	hits   signalSet // what was found of late
	open   bool      // the segment before was read too, and this goes on
}

func newDecoding(v fold.View, b *book) decoding {
	return decoding{reader: *fold.NewReader(v), inner: newReading(b)}
}

func (d *decoding) rune(r rune, _, _ int64) {
	if r == fold.Break {
		r = ' '
	}
	d.hits |= d.inner.folded(r)
}

func (d *decoding) copyFrom(f *decoding) {
	d.reader = f.reader
	d.inner.copyFrom(&f.inner)
	d.open = f.open
}

// read returns the families that a segment holds, if it is one to look at.
func (d *decoding) read(segment []byte, look, last bool) signalSet {
	if !look {
		d.open = false
		return 0
	}
	if !d.open {
		d.reader.Reset(0)
		d.inner.begin()
		d.open = true
	}
	d.hits = 0
	for len(segment) > 0 { // rune by rune: a string of all would be a copy on the heap
		_, n := utf8.DecodeRune(segment)
		d.reader.Read(string(segment[:n]), d.rune)
		segment = segment[n:]
	}
	if last {
		d.reader.Close(d.rune)
		d.hits |= d.inner.close()
	}
	return d.hits
}

// fewEscapes is how many escapes a segment may have before it is read as what
// they stand for; shortestRun is how long a run of base64 must be to say
// something.
const fewEscapes, shortestRun = 4, 16

var inBase64 = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_") {
		t[c] = true
	}
	return t
}()

// longRun tells whether a run of base64 in a segment may say something. Words
// of that length there are, but no spelled one has capitals or digits inside.
func longRun(segment []byte) bool {
	// Every run that is long enough has a letter at a multiple of its length.
	for i := shortestRun - 1; i < len(segment); i += shortestRun {
		if !inBase64[segment[i]] {
			continue
		}
		start, end := i, i+1
		for start > 0 && inBase64[segment[start-1]] {
			start--
		}
		for end < len(segment) && inBase64[segment[end]] {
			end++
		}
		if end-start >= shortestRun && mixed(segment[start:end]) {
			return true
		}
		i = end - end%shortestRun - 1
	}
	return false
}

// mixed tells whether a run has both capitals and small letters, not only the
// first a capital: what letters are encoded to has.
func mixed(run []byte) bool {
	capitals, small := 0, 0
	for _, c := range run[1:] {
		switch {
		case 'A' <= c && c <= 'Z':
			capitals++
		case 'a' <= c && c <= 'z':
			small++
		}
	}
	return capitals > 0 && small > 0
}

// endsInRun tells whether a run of base64 may go on in the next segment.
func endsInRun(segment []byte) bool { return inBase64[segment[len(segment)-1]] }

// ---- disguised text

// replaced tells whether a segment has several words in which some letters are
// replaced by digits or signs: enough of them to read it once more.
func replaced(segment []byte) bool {
	words, letters, signs := 0, 0, 0 // the last two of the word that is read
	end := func() {
		if letters >= 2 && signs > 0 && signs <= letters+1 {
			words++
		}
		letters, signs = 0, 0
	}
	for _, c := range segment {
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
			letters++
		case '0' <= c && c <= '9' || c == '@' || c == '$' || c == '!' || c == '|':
			signs++
		default:
			end()
		}
	}
	end()
	return words >= 2
}

// ---- addresses that carry data away

// carriesAway looks for images and links whose address has what it should not
// need: what is shown to a reader as an image is fetched without asking, with
// all that its address says.
func carriesAway(segment []byte) (out signalSet) {
	for i := range segment {
		switch rest := segment[i:]; {
		case segment[i] == ']' && beginsWith(rest, "]("):
			open := bytes.LastIndexByte(segment[:i], '[')
			if !carries(rest[2:]) {
				continue
			}
			if open > 0 && segment[open-1] == '!' {
				out |= 1 << signalImage
			} else {
				out |= 1 << signalLink
			}
		case segment[i] == '<' && beginsWith(rest, "<img"):
			if src := bytes.Index(rest, []byte("src=")); src >= 0 && carries(bytes.TrimLeft(rest[src+4:], `"'`)) {
				out |= 1 << signalImage
			}
		}
	}
	return out
}

// carriers are names of parameters that say what is carried.
var carriers = []string{
	"d", "q", "data", "query", "prompt", "content", "secret", "msg", "text", "info", "leak", "payload", "exfil", "history", "chat",
	"conversation", "context", "email", "password", "cookie", "summary", "response", "input", "output", "stolen",
}

// carries tells whether the query of an address, from the address on, holds
// words, a place for them, or what its name says should not leave.
func carries(text []byte) bool {
	if end := bytes.IndexAny(text, ") \t\r\n\"'"); end >= 0 {
		text = text[:end]
	}
	scheme, query := bytes.Index(text, []byte("//")), bytes.IndexAny(text, "?#")
	if scheme < 0 || scheme > len("https:") || query < 0 {
		return false
	}
	for pair := range bytes.FieldsFuncSeq(text[query+1:], func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, _ := bytes.Cut(pair, []byte{'='})
		named := slices.ContainsFunc(carriers, func(c string) bool { return len(c) == len(name) && beginsWith(name, c) })
		switch {
		case len(value) > 2 && bytes.IndexByte([]byte("{[<$"), value[0]) >= 0 && bytes.IndexByte(value, ':') < 0, // a place to be filled
			bytes.Count(value, []byte("%20"))+bytes.Count(value, []byte{'+'}) >= 2, // words
			named && len(value) >= 8:
			return true
		}
	}
	return false
}
