// Package cache keeps in memory what backends have answered, so that an answer
// that is asked for again within a while need not be generated again. It keeps
// what a backend said, before any policy was asked: whoever takes an answer out
// judges it as if the backend said it now.
//
// Which calls ask for the same, whose answers a caller may have, and for how
// long, is not its business: an answer is found by its Key alone, and by
// nothing that is like it. Nothing leaves the memory of the process.
package cache

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
)

// A Key is what calls have in common that may have each other's answers: a hash
// of all that decides.
type Key [sha256.Size]byte

// An Answer is what a backend said. It is not changed once it is kept.
type Answer struct {
	// Backend and Model name the target that gave it.
	Backend, Model string
	// At is when it was kept.
	At time.Time
	// Events are what the backend said, as a Recorder has taken it down.
	Events []backend.Event
	// Usage is what it was rated by, OwnUsage the gateway's own count.
	Usage, OwnUsage accounting.Usage
	Source          accounting.Source
	// ServedClass is the class of service that has served it, as its backend said.
	ServedClass accounting.ServiceClass
}

// Cache keeps the answers that were used last, within a bound of bytes. It is
// safe for concurrent use, starts nothing and reads no clock.
type Cache struct {
	mu      sync.Mutex
	limit   int64
	size    int64
	evicted int64
	found   map[Key]*list.Element // of recent
	recent  *list.List            // of *kept, the one that was used last in front
}

type kept struct {
	key    Key
	answer *Answer
	until  time.Time
	size   int64
}

// New makes a cache of so many bytes.
func New(limit int64) *Cache {
	c := &Cache{}
	c.Reset(limit)
	return c
}

// Reset forgets all answers. From then on the cache has so many bytes.
func (c *Cache) Reset(limit int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit, c.size, c.found, c.recent = limit, 0, map[Key]*list.Element{}, list.New()
}

// Get returns the answer of a key that was kept less than a while ago; nil where
// there is none.
func (c *Cache) Get(key Key, now time.Time, ttl time.Duration) *Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.found[key]
	if e == nil {
		return nil
	}
	k := e.Value.(*kept)
	if !now.Before(k.until) || now.Sub(k.answer.At) >= ttl {
		c.drop(e)
		return nil
	}
	c.recent.MoveToFront(e)
	return k.answer
}

// Put keeps an answer for a while, in the place of what was kept for the key. Those
// that were not used for longest make room for it. One that is too large to leave
// room for others is not kept.
func (c *Cache) Put(key Key, a *Answer, ttl time.Duration) {
	k := &kept{key: key, answer: a, until: a.At.Add(ttl), size: a.size()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.size > c.most() {
		return
	}
	if e := c.found[key]; e != nil {
		c.drop(e)
	}
	for c.size+k.size > c.limit {
		c.evicted++
		c.drop(c.recent.Back())
	}
	c.size += k.size
	c.found[key] = c.recent.PushFront(k)
}

// Sweep forgets the answers whose while has passed. Without it they stay in
// memory until others need the room, though nobody gets them.
func (c *Cache) Sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.recent.Front(); e != nil; {
		next := e.Next()
		if !now.Before(e.Value.(*kept).until) {
			c.drop(e)
		}
		e = next
	}
}

// drop needs the lock.
func (c *Cache) drop(e *list.Element) {
	k := c.recent.Remove(e).(*kept)
	delete(c.found, k.key)
	c.size -= k.size
}

// most is how large one answer may be; it needs the lock.
func (c *Cache) most() int64 { return c.limit / 8 }

// Stats is how a cache stands.
type Stats struct {
	Answers, Bytes int64
	// Evicted counts the answers that others needed the room of.
	Evicted int64
}

// Stats tells how the cache stands.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Answers: int64(c.recent.Len()), Bytes: c.size, Evicted: c.evicted}
}
