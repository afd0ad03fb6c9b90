package credential

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// keptKeys is how many keys of a server are hidden: a call that has begun with an
// older one may still fail.
const keptKeys = 4

// A Hider replaces secrets in texts. It is safe for concurrent use.
type Hider struct {
	mu       sync.Mutex
	fixed    []string
	keys     []string // the newest last
	replacer atomic.Pointer[strings.Replacer]
	newest   atomic.Pointer[string]
}

// Hiding hides secrets. One of the form "Bearer x" is hidden whole and without
// its first word.
func Hiding(secrets []string) *Hider {
	h := &Hider{fixed: secrets}
	h.build()
	return h
}

// Replace returns a text without the secrets.
func (h *Hider) Replace(text string) string { return h.replacer.Load().Replace(text) }

// Hide hides one more key, and forgets those of long before.
func (h *Hider) Hide(key string) {
	if newest := h.newest.Load(); newest != nil && *newest == key {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keys = append(slices.DeleteFunc(h.keys, func(k string) bool { return k == key }), key)
	h.keys = h.keys[max(0, len(h.keys)-keptKeys):]
	h.build()
	h.newest.Store(&key)
}

func (h *Hider) build() {
	all := slices.Concat(h.fixed, h.keys)
	for _, s := range all {
		if _, token, ok := strings.Cut(s, " "); ok {
			all = append(all, token)
		}
	}
	// The first that fits is replaced, and one secret may begin another.
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, s := range all {
		if len(s) >= 4 { // anything shorter is no secret and would garble the text
			pairs = append(pairs, s, "[secret]")
		}
	}
	h.replacer.Store(strings.NewReplacer(pairs...))
}
