package guard

import "strings"

// read lets a follower read the rune that ends at after; -1 is the end of the
// text. Where there is a secret it ends at the offset returned.
func (s *secretStream) read(f *follower, r rune, after int64) (end int64, what outcome) {
	switch s.rules[f.rule].reader {
	case namedReader:
		return s.readNamed(f, r, after)
	case urlReader:
		return s.readURL(f, r, after)
	case jwtReader:
		return s.readJWT(f, r, after)
	case pemReader:
		return s.readPEM(f, r, after)
	}
	return s.readToken(f, r, after)
}

func (s *secretStream) readToken(f *follower, r rune, after int64) (int64, outcome) {
	rule := &s.rules[f.rule]
	if f.grown {
		if rule.tail.has(r) {
			return 0, goesOn
		}
		return s.pos, isOver
	}
	for {
		p := &rule.parts[f.part]
		last := int(f.part) == len(rule.parts)-1
		fits := p.set.has(r)
		if fits && (p.most == 0 || int(f.count) < p.most) {
			if f.start < 0 && int(f.part) >= rule.from {
				f.start = s.pos
			}
			f.count++
			switch {
			case last && rule.checked && int(f.count) == p.most:
				return after, isWhole
			case p.most == 0 && f.start >= 0 && after-f.start >= maxSecret:
				return after, isEnough
			}
			return 0, goesOn
		}
		if int(f.count) < p.least || last && (fits || rule.notBefore&neighbourOf(r) != 0) {
			return s.pos, isOver
		}
		if last {
			return s.trimmed(f, p.set.has('.')), isWhole
		}
		f.part, f.count = f.part+1, 0
	}
}

// trimmed is pos, less the full stops that end a sentence.
func (s *secretStream) trimmed(f *follower, stops bool) int64 {
	end := s.pos
	for stops && end > f.start && strings.IndexByte(".:?", s.byteAt(end-1)) >= 0 {
		end--
	}
	return end
}

// The phases of a named secret: password_for_db" : "value".
const (
	nameGoesOn = iota // the rest of the name: words, and what joins them
	nameIsOver        // a quote or bracket has closed it
	isAssigned        // = or the like has been read, and what may follow it
	valueGoesOn
)

const (
	maxName = 32 // bytes between a name and the sign of the assignment
	maxGap  = 12 // and between that and the value
)

func (s *secretStream) readNamed(f *follower, r rune, after int64) (int64, outcome) {
	switch f.phase {
	case nameGoesOn, nameIsOver:
		return 0, f.readName(r)
	case isAssigned:
		if f.count++; f.count > maxGap {
			return 0, isOver
		}
		switch {
		case strings.ContainsRune("\"'`“", r):
			if f.quote == r {
				return 0, isOver // empty
			}
			f.quote = r
			return 0, goesOn
		case strings.ContainsRune(" \t:=>\\*：", r):
			return 0, goesOn
		case r <= ' ' || r > '~' || strings.ContainsRune("<{[($%,;)}]|&", r):
			return 0, isOver
		}
		f.phase, f.start = valueGoesOn, s.pos
	}
	rule := &s.rules[f.rule]
	open := rule.parts[len(rule.parts)-1].most == 0
	switch s.valueEnds(f, r) {
	case isOver:
		return s.pos, isOver
	case isWhole:
		end := s.trimmed(f, f.quote == 0)
		if f.grown || end > f.start && rule.matches(s.between(f.start, end)) {
			return end, isWhole
		}
		return s.pos, isOver
	}
	switch {
	case f.grown:
		return 0, goesOn
	case !rule.tail.has(r) && f.quote == 0 && strings.ContainsRune(".:?", r):
		return 0, goesOn // it may be the end of a sentence
	case !rule.tail.has(r):
		return s.pos, isOver
	case open && after-f.start >= maxSecret:
		return after, isEnough
	case !open && after-f.start > int64(rule.longest)+1:
		return s.pos, isOver
	}
	return 0, goesOn
}

// readName reads what is between a name and its value. " is ", 是 and 为 assign
// too, for people tell models their passwords in sentences.
func (f *follower) readName(r rune) outcome {
	if f.count++; f.count > maxName {
		return isOver
	}
	before := f.word
	f.word = f.word<<8 | uint32(r&0xFF)
	switch {
	case strings.ContainsRune(":=：＝是为", r), r == '>', r == ' ' && before&0xFFFFFF == ' '<<16|'i'<<8|'s':
		f.phase, f.count = isAssigned, 0
	case strings.ContainsRune("\"'`*])\\）”", r):
		f.phase = nameIsOver
	case f.phase == nameIsOver:
		if r != ' ' && (r != 'i' || byte(before) != ' ') && (r != 's' || byte(before) != 'i') {
			return isOver
		}
	case r != ' ' && r != '.' && r != '-' && r != '(' && r != '/' && r != '（' && besideWord&neighbourOf(r) == 0:
		return isOver
	}
	return goesOn
}

// valueEnds tells whether a value ends before a rune.
func (s *secretStream) valueEnds(f *follower, r rune) outcome {
	switch {
	case f.quote == '“' && r == '”' || f.quote != 0 && r == f.quote || r == '\\':
		return isWhole
	case r <= ' ' || r > '~':
		if f.quote != 0 && r != '\n' && r != '\r' && r >= 0 && !f.grown {
			return isOver // a sentence in quotes
		}
		return isWhole
	case f.quote != 0:
		return goesOn
	case strings.ContainsRune("([{", r):
		if !f.grown {
			return isOver // a call, an index, a literal: code
		}
		return isWhole
	case strings.ContainsRune("\"'`<>,;|)]}&*", r):
		return isWhole
	}
	return goesOn
}

// readURL reads user:password@host behind "://". The last @ counts, as it does
// for the URL standard of WHATWG, so that of a password with an @ nothing is
// left: until the authority ends, one may come.
func (s *secretStream) readURL(f *follower, r rune, after int64) (int64, outcome) {
	const (
		user = iota
		password
		host
	)
	ok := r > ' ' && r <= '~' && !strings.ContainsRune("/?#\"'<>\\^`{|}$*", r)
	if f.count++; f.phase == user {
		switch {
		case !ok || r == '@' || f.count > 64:
			return 0, isOver
		case r == ':':
			f.phase, f.start = password, after
		}
		return 0, goesOn
	}
	switch {
	case !ok || after-f.start >= maxSecret:
		return 0, isOver
	case r == '@':
		f.phase, f.mark = host, s.pos
	case f.phase == host && s.pos == f.mark+1:
		return f.mark, isSoFar
	}
	return 0, goesOn
}

// Lengths of a JSON Web Token, RFC 7515: of the header that is looked at, and of
// what must follow it.
const (
	maxHeader  = 512
	minPayload = 8
)

var base64URL = func() (s asciiSet) {
	s.add('A', 'Z')
	s.add('a', 'z')
	s.add('0', '9')
	s.add('-', '-')
	s.add('_', '_')
	return s
}()

// readJWT: mark is how many dots may still come, of two, or of four where it is
// encrypted (RFC 7516).
func (s *secretStream) readJWT(f *follower, r rune, after int64) (int64, outcome) {
	header := f.phase == 0
	switch {
	case base64URL.has(r):
		if f.count++; header && int(f.count) > maxHeader-len("eyJ.") {
			return 0, isOver
		}
		if !header && !f.grown && f.count >= minPayload {
			return after, isEnough
		}
		return 0, goesOn
	case r == '.' && header:
		dots := jwtDots(s.between(f.start, s.pos))
		if dots == 0 {
			return 0, isOver
		}
		f.phase, f.count, f.mark = 1, 0, int64(dots-1)
		return 0, goesOn
	case r == '.' && f.mark > 0:
		f.mark--
		return 0, goesOn
	}
	return s.pos, isOver
}

// maxLabel bounds the label of a key, as in RFC 7468: RSA PRIVATE KEY.
const maxLabel = 48

// readPEM follows a private key from its first line to its last. Labels of
// OpenSSL, OpenSSH, SSH2 and OpenPGP end in KEY or KEY BLOCK. The body may be
// anything: line ends are often escaped, and headers stand in it.
func (s *secretStream) readPEM(f *follower, r rune, after int64) (int64, outcome) {
	const (
		label = iota
		body
		lastLabel
		lastDashes
		end1 = '-'<<56 | '-'<<48 | '-'<<40 | '-'<<32 | '-'<<24 | 'E'<<16 | 'N'<<8 | 'D'
		end2 = '-'<<56 | '-'<<48 | '-'<<40 | '-'<<32 | ' '<<24 | 'E'<<16 | 'N'<<8 | 'D'
		// PRIVATE KEY and BLOCK, the last four letters of them.
		key   = 'E'<<24 | 'K'<<16 | 'E'<<8 | 'Y'
		block = 'L'<<24 | 'O'<<16 | 'C'<<8 | 'K'
	)
	if r < 0 {
		return s.pos, isOver
	}
	upper := r >= 'A' && r <= 'Z' || r == ' ' || r >= '0' && r <= '9'
	switch f.phase {
	case label:
		if f.count++; upper && f.count <= maxLabel {
			return 0, goesOn
		}
		text := strings.TrimSuffix(strings.TrimSuffix(s.between(f.start, s.pos), " "), " BLOCK")
		if r != '-' || !strings.HasSuffix(text, "PRIVATE KEY") {
			return 0, isOver
		}
		f.phase = body
		return after, isEnough
	case lastLabel:
		if f.count++; upper && f.count <= maxLabel {
			if r != ' ' { // SSH2 has one before the dashes, too
				f.word = f.word<<8 | uint32(r)
			}
			return 0, goesOn
		}
		if r == '-' && (f.word == key || f.word == block) {
			f.phase = lastDashes
			return 0, goesOn
		}
		f.phase = body
	case lastDashes:
		if r == '-' {
			return 0, goesOn
		}
		return s.pos, isOver
	}
	if f.mark = f.mark<<8 | int64(r&0xFF); r > '~' {
		f.mark = 0
	}
	if f.mark == end1 || f.mark == end2 {
		f.phase, f.count, f.word, f.mark = lastLabel, 0, 0, 0
	}
	return 0, goesOn
}
