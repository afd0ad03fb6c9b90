package httpstream

import (
	"bytes"
	"iter"
)

// Members are the names and values of a JSON object, in its order; none of what
// is no object. The JSON must be valid. Nothing is copied: names that have
// escapes are as they are written.
func Members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		object = bytes.TrimSpace(object)
		if len(object) < 2 || object[0] != '{' {
			return
		}
		for rest := space(object[1:]); len(rest) > 0 && rest[0] == '"'; {
			n := end(rest)
			name := rest[1 : n-1]
			rest = space(rest[n:])
			if len(rest) == 0 || rest[0] != ':' {
				return
			}
			rest = space(rest[1:])
			n = end(rest)
			if !yield(name, rest[:n]) {
				return
			}
			if rest = space(rest[n:]); len(rest) > 0 && rest[0] == ',' {
				rest = space(rest[1:])
			}
		}
	}
}

// Elements are the values of a JSON list, as Members are those of an object.
func Elements(list []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		list = bytes.TrimSpace(list)
		if len(list) < 2 || list[0] != '[' {
			return
		}
		for rest := space(list[1:]); len(rest) > 0 && rest[0] != ']'; {
			n := end(rest)
			if n == 0 || !yield(rest[:n]) {
				return
			}
			if rest = space(rest[n:]); len(rest) > 0 && rest[0] == ',' {
				rest = space(rest[1:])
			}
		}
	}
}

func space(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// end is where the value ends that stands first in b.
func end(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return min(i+1, len(b))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // of what is around it
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return len(b)
}
