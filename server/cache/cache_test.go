package cache_test

import (
	"container/list"
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/cache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func keyOf(n int) (k cache.Key) {
	binary.BigEndian.PutUint64(k[:], uint64(n))
	return k
}

func answer(at time.Time, text string) *cache.Answer {
	return &cache.Answer{At: at, Events: []backend.Event{{Kind: backend.Delta, Channel: backend.Content, Text: text}}}
}

// sizeOf is what the cache takes an answer for.
func sizeOf(text string) int64 {
	c := cache.New(1 << 40)
	c.Put(keyOf(0), answer(noon, text), time.Hour)
	return c.Stats().Bytes
}

// The cache is compared with a list of the keys by their last use.
func TestItKeepsWhatWasUsedLast(t *testing.T) {
	const size = 9000
	rapid.Check(t, func(r *rapid.T) {
		c, now := cache.New(size), noon
		type entry struct {
			key    int
			answer *cache.Answer
			until  time.Time
			size   int64
		}
		recent, evicted := list.New(), int64(0)
		find := func(key int) *list.Element {
			for e := recent.Front(); e != nil; e = e.Next() {
				if e.Value.(*entry).key == key {
					return e
				}
			}
			return nil
		}
		bytes := func() (n int64) {
			for e := recent.Front(); e != nil; e = e.Next() {
				n += e.Value.(*entry).size
			}
			return n
		}
		put := func(r *rapid.T) {
			key, text := rapid.IntRange(0, 30).Draw(r, "key"), strings.Repeat("x", rapid.IntRange(100, 700).Draw(r, "length"))
			ttl := time.Duration(rapid.IntRange(1, 5).Draw(r, "ttl")) * time.Minute
			e := &entry{key, answer(now, text), now.Add(ttl), sizeOf(text)}
			c.Put(keyOf(key), e.answer, ttl)
			if e.size > size/8 {
				return
			}
			if before := find(key); before != nil {
				recent.Remove(before)
			}
			recent.PushFront(e)
			for bytes() > size {
				recent.Remove(recent.Back())
				evicted++
			}
		}
		r.Repeat(map[string]func(*rapid.T){
			"put": put, "put another": put, "put a third": put,
			"get": func(r *rapid.T) {
				key := rapid.IntRange(0, 30).Draw(r, "key")
				ttl := time.Duration(rapid.IntRange(1, 5).Draw(r, "ttl")) * time.Minute
				var want *cache.Answer
				if e := find(key); e != nil {
					if v := e.Value.(*entry); now.Before(v.until) && now.Sub(v.answer.At) < ttl {
						want = v.answer
						recent.MoveToFront(e)
					} else {
						recent.Remove(e)
					}
				}
				if got := c.Get(keyOf(key), now, ttl); got != want {
					r.Fatalf("key %d has %p, want %p", key, got, want)
				}
			},
			"wait": func(r *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 20).Draw(r, "seconds")) * time.Second)
			},
			"sweep": func(*rapid.T) {
				c.Sweep(now)
				for e := recent.Front(); e != nil; {
					next := e.Next()
					if !now.Before(e.Value.(*entry).until) {
						recent.Remove(e)
					}
					e = next
				}
			},
			"": func(r *rapid.T) {
				if s := c.Stats(); s.Bytes > size || s.Bytes != bytes() || s.Answers != int64(recent.Len()) || s.Evicted != evicted {
					r.Fatalf("it has %+v, want %d bytes of %d answers, %d evicted", s, bytes(), recent.Len(), evicted)
				}
			},
		})
	})
}

func TestResetForgetsAll(t *testing.T) {
	c := cache.New(1 << 20)
	c.Put(keyOf(1), answer(noon, "a"), time.Hour)
	c.Reset(1 << 20)
	if c.Get(keyOf(1), noon, time.Hour) != nil || c.Stats().Bytes != 0 {
		t.Error("something is left")
	}
	c.Reset(0)
	c.Put(keyOf(1), answer(noon, "a"), time.Hour)
	if c.Get(keyOf(1), noon, time.Hour) != nil {
		t.Error("a cache of no bytes keeps something")
	}
}

func TestManyUseItAtOnce(t *testing.T) {
	c := cache.New(20_000)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 500 {
				key, text := (i*7+worker)%40, strings.Repeat("x", i%500)
				c.Put(keyOf(key), answer(noon, text), time.Hour)
				if a := c.Get(keyOf(key), noon, time.Hour); a != nil && len(a.Events) != 1 {
					t.Errorf("an answer of %d events", len(a.Events))
				}
				switch i % 100 {
				case 98:
					c.Sweep(noon.Add(time.Minute))
				case 99:
					c.Reset(20_000)
				}
			}
		})
	}
	all.Wait()
	if s := c.Stats(); s.Bytes > 20_000 {
		t.Errorf("it has %+v", s)
	}
}

// said is what events say, by channel and call, with what stands between texts.
func said(events []backend.Event) string {
	var all strings.Builder
	var last backend.Event
	for _, e := range events {
		switch e.Kind {
		case backend.Used:
			continue
		case backend.Delta:
			if last.Kind != backend.Delta || last.Channel != e.Channel || last.Call != e.Call {
				all.WriteString("|" + string(e.Channel) + string(rune('0'+e.Call)) + ":")
			}
			all.WriteString(e.Text)
			for _, l := range e.Logprobs {
				all.WriteString("<" + l.Token + ">")
			}
		default:
			all.WriteString("|" + string(rune('0'+int(e.Kind))) + e.Tool + e.CallID + string(e.Finish))
			if e.Signature != nil {
				all.WriteString(e.Signature.Data)
			}
		}
		last = e
	}
	return all.String()
}

// Whatever pieces a backend says it in, what is taken down says the same in the
// same order, in events of whole pieces.
func TestARecorderTakesDownWhatIsSaid(t *testing.T) {
	pieces := rapid.SampledFrom([]string{"", "a", "the mill ", "水车", "转动。", "🌊", strings.Repeat("long ", 90), strings.Repeat("长", 300)})
	channels := rapid.SampledFrom([]backend.Channel{backend.Content, backend.Content, backend.Reasoning})
	rapid.Check(t, func(r *rapid.T) {
		events := []backend.Event{{Kind: backend.Started, BackendModel: "m"}}
		for range rapid.IntRange(0, 30).Draw(r, "events") {
			e := backend.Event{Kind: backend.Delta, Channel: channels.Draw(r, "channel"), Text: pieces.Draw(r, "text")}
			switch rapid.IntRange(0, 8).Draw(r, "kind") {
			case 0:
				e = backend.Event{Kind: backend.Used}
			case 1:
				e = backend.Event{Kind: backend.Signed, Channel: backend.Reasoning, Signature: &backend.Signature{Data: "sign"}}
			case 2:
				e.Logprobs = []backend.Logprob{{Token: e.Text}}
			case 3:
				e = backend.Event{Kind: backend.Called, Tool: "t", CallID: "c"}
			case 4, 5:
				e.Channel, e.Call = backend.Arguments, rapid.IntRange(0, 1).Draw(r, "call")
			}
			events = append(events, e)
		}
		events = append(events, backend.Event{Kind: backend.Finished, Finish: backend.FinishStop}, backend.Event{Kind: backend.Used})
		rec := cache.New(1 << 30).Recorder()
		for _, e := range events {
			rec.Hear(e)
		}
		got := rec.Events()
		if said(got) != said(events) {
			r.Fatalf("%q was taken down as %q", said(events), said(got))
		}
		for _, e := range got {
			if e.Text != strings.ToValidUTF8(e.Text, "?") {
				r.Fatalf("%q cuts a character", e.Text)
			}
		}
	})
}

func TestWhatIsNotGivenAgain(t *testing.T) {
	text := backend.Event{Kind: backend.Delta, Channel: backend.Content, Text: "text"}
	end := func(f backend.FinishReason) backend.Event { return backend.Event{Kind: backend.Finished, Finish: f} }
	second := text
	second.Candidate = 1
	for name, c := range map[string]struct {
		events []backend.Event
		kept   bool
	}{
		"a whole answer":             {[]backend.Event{text, end(backend.FinishStop)}, true},
		"calls of tools":             {[]backend.Event{text, end(backend.FinishToolCalls)}, true},
		"one that broke off":         {[]backend.Event{text}, false},
		"one that was cut":           {[]backend.Event{text, end(backend.FinishLength)}, false},
		"a refusal":                  {[]backend.Event{text, end(backend.FinishRefusal)}, false},
		"one of a filter":            {[]backend.Event{text, end(backend.FinishBackendFilter)}, false},
		"one of an unknown reason":   {[]backend.Event{text, end(backend.FinishUnknown)}, false},
		"one of several":             {[]backend.Event{text, second, end(backend.FinishStop)}, false},
		"an event of a later kind":   {[]backend.Event{text, {Kind: 200}, end(backend.FinishStop)}, false},
		"more than there is room of": {[]backend.Event{{Kind: backend.Delta, Text: strings.Repeat("x", 200_000)}, end(backend.FinishStop)}, false},
		"many small ones of it":      {append(slowly(200_000), end(backend.FinishStop)), false},
	} {
		rec := cache.New(1 << 20).Recorder()
		for _, e := range c.events {
			rec.Hear(e)
		}
		if got := rec.Events(); (got != nil) != c.kept {
			t.Errorf("%s: kept %d events", name, len(got))
		}
	}
}

func slowly(bytes int) (all []backend.Event) {
	for range bytes / 10 {
		all = append(all, backend.Event{Kind: backend.Delta, Channel: backend.Content, Text: "0123456789"})
	}
	return all
}
