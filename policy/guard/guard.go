// Package guard holds the guards that ship with us: what recognises terms and
// patterns in the text of a stream. Each is made from its own keys of a rule
// and keeps exact account of what it has not decided yet, so that the Screen in
// package policy can release everything else.
//
// It refuses to know what becomes of a finding (that is the rule's action),
// what a candidate or an answer is, and how text arrives. It does no I/O, ships
// no list of words, and imports only policy.
package guard

import "github.com/weir-gateway/weir/policy"

// All returns every guard of this package by the name that rules call it.
func All() map[string]policy.Factory {
	return map[string]policy.Factory{
		"injection": Injection,
		"lexicon":   Lexicon,
		"media":     Media,
		"pattern":   Pattern,
		"pii":       PII,
		"secrets":   Secrets,
	}
}
