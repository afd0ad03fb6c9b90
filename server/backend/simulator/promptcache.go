package simulator

import (
	"container/list"
	"hash/maphash"
	"sync"

	"github.com/weir-gateway/weir/server/backend"
)

// blockTokens is how many tokens are cached together. Servers with a paged
// prefix cache have blocks of this size (vLLM's default is 16).
const blockTokens = 16

// promptCache models a cache of the beginnings of prompts: blocks of tokens,
// each known by itself and all that stand before it, the least used of which
// make room. It is safe for concurrent use.
type promptCache struct {
	seed   maphash.Seed
	most   int // blocks
	mu     sync.Mutex
	blocks map[uint64]*list.Element
	used   *list.List // of block hashes, the last used first
}

func newPromptCache(tokens int) *promptCache {
	return &promptCache{seed: maphash.MakeSeed(), most: max(1, tokens/blockTokens), blocks: map[uint64]*list.Element{}, used: list.New()}
}

// read returns how many tokens of a prompt come from the cache, and keeps the
// prompt.
func (c *promptCache) read(req *backend.Request) (cached int) {
	var h maphash.Hash
	h.SetSeed(c.seed)
	n := 0
	c.mu.Lock()
	defer c.mu.Unlock()
	hit := true
	token := func(text string) {
		h.WriteString(text)
		h.WriteByte(0)
		if n++; n%blockTokens != 0 {
			return
		}
		block := h.Sum64()
		if at, known := c.blocks[block]; known {
			c.used.MoveToFront(at)
			if hit {
				cached += blockTokens
			}
			return
		}
		hit = false
		c.blocks[block] = c.used.PushFront(block)
		if c.used.Len() > c.most {
			delete(c.blocks, c.used.Remove(c.used.Back()).(uint64))
		}
	}
	for _, m := range req.Messages {
		token(string(m.Role))
		for _, p := range m.Parts {
			for text := p.Text; text != ""; {
				size := firstToken(text)
				token(text[:size])
				text = text[size:]
			}
		}
	}
	return cached
}
