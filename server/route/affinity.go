package route

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/weir-gateway/weir/server/backend"
)

// prefixBytes is how much of a prompt decides under PrefixAffinity: about 256
// tokens of English, and as many of Chinese as make a system prompt.
const prefixBytes = 1024

// key is what calls that belong together have in common; 0 is nothing.
func (m *Model) key(c *Call) uint64 {
	switch {
	case m.Affinity == SessionAffinity && c.Subject.Session != "":
		return hash(hash(1, c.Subject.Tenant), c.Subject.Session) | 1
	case m.Affinity == PrefixAffinity && c.Request != nil:
		return prefix(c.Request) | 1
	}
	return 0
}

// prefix is the hash of the beginning of a prompt. The same beginning has the
// same on every replica.
func prefix(req *backend.Request) uint64 {
	h, left := uint64(2), prefixBytes
	for i := range req.Messages {
		m := &req.Messages[i]
		h = hash(h, string(m.Role))
		for j := range m.Parts {
			text := m.Parts[j].Text
			if len(text) >= left {
				return hash(h, text[:left])
			}
			h = hash(h, text)
			left -= len(text)
		}
	}
	return h
}

// hash goes on from h with a text. It is for spreading, not for security: eight
// bytes at a time, multiplied to 128 bits and folded.
func hash(h uint64, s string) uint64 {
	h ^= uint64(len(s))
	for len(s) >= 8 {
		high, low := bits.Mul64(h^binary.LittleEndian.Uint64([]byte(s[:8])), 0x9fb21c651e98df25)
		h = high ^ low
		s = s[8:]
	}
	var last uint64
	for i := 0; i < len(s); i++ {
		last = last<<8 | uint64(s[i])
	}
	return mix(h ^ last)
}

func mix(x uint64) uint64 {
	high, low := bits.Mul64(x^0x9e3779b97f4a7c15, 0xd6e8feb86659fd93)
	high, low = bits.Mul64(high^low^0xa0761d6478bd642f, 0xe7037ed1a0b428db)
	return high ^ low
}

// rank is the place of a target for a key: the lowest is the best. It is
// rendezvous hashing (Thaler and Ravishankar, 1998), with weights as -ln(u)/w.
// So a target that goes takes only its own keys with it. One that is not below
// a limit may come out as any number that is not: since -ln(u) is at least 1-u,
// most need no logarithm.
func (t *Target) rank(key uint64, limit float64) float64 {
	u := (float64(mix(key^t.seed)>>11) + 0.5) / (1 << 53)
	if least := (1 - u) * t.share; least >= limit {
		return least
	}
	return -math.Log(u) * t.share
}

// What a target may have in flight before calls that belong to it go elsewhere:
// its fair share and a quarter more (consistent hashing with bounded loads,
// Mirrokni, Thorup and Zadimoghaddam, 2018), and so few calls at least.
const (
	boundedLoad = 1.25
	boundedMin  = 4
)

func overloaded(outstanding, all int64, weight, weights int) bool {
	share := boundedLoad * float64(all+1) * float64(weight) / float64(weights)
	return float64(outstanding+1) > math.Max(boundedMin, math.Ceil(share))
}
