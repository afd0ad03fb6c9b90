package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model says what a spool must know. It is one of maps, without files.
type model struct {
	open  map[Key]*modelCall
	queue []Entry // not Done, in order
	next  uint32
	// What may have been written, ever.
	opened map[Key]modelCall
	closed map[Key]string
}

type modelCall struct {
	payload string
	topUps  []string
	last    Position // of its last record, at the latest
}

func key(n uint32) Key {
	var k Key
	k.Attempt = n%3 + 1
	binary.BigEndian.PutUint32(k.Request[:], n)
	return k
}

// machine is a spool on a disk, and the model beside it.
type machine struct {
	t     *rapid.T
	root  string
	runs  int
	disk  *disk
	spool *Spool
	model model

	// image is the folder as a crash in mid-operation left it.
	image   string
	crashIn int      // so many system calls from now; 0: not
	power   bool     // the crash is one of power
	cuts    int      // of power, so far
	doubt   bool     // a crash since the last good end was in the middle of something
	synced  Position // at the crash
	unsure  Key      // the call that the operation in which it crashed was about
	acked   model    // the model before it
	chance  func() bool
}

func (m *machine) folder() string {
	m.runs++
	dir := fmt.Sprintf("%s/%d", m.root, m.runs)
	if err := os.Mkdir(dir, 0o700); err != nil {
		panic(err)
	}
	return dir
}

func smallConfig(d *disk) Config {
	return Config{Dir: d.dir, Replica: "a", Incarnation: 7, SegmentBytes: 8 << 10, MaxBytes: 64 << 10, CloseBytes: 150, SyncEvery: time.Hour, system: d.system()}
}

func (m *machine) start(dir string) Report {
	boot := "boot-1"
	if m.disk != nil {
		boot = m.disk.boot
	}
	if m.power {
		boot = fmt.Sprintf("boot-%d", m.runs)
	}
	m.disk = newDisk(dir)
	m.disk.boot = boot
	for _, name := range list(dir) { // what is there is there
		m.disk.named[name] = true
		m.disk.synced[name], _ = os.ReadFile(dir + "/" + name)
	}
	s, report, err := Open(smallConfig(m.disk))
	if err != nil {
		m.t.Fatalf("open: %v", err)
	}
	m.spool = s
	m.disk.before = m.maybeCrash
	return report
}

// maybeCrash takes the image in the middle of an operation.
func (m *machine) maybeCrash(call string, f *os.File) error {
	if m.crashIn == 0 {
		return nil
	}
	if m.crashIn--; m.crashIn == 0 {
		m.takeImage()
	}
	return nil
}

func (m *machine) takeImage() {
	m.image, m.synced = m.folder(), m.spool.synced
	if m.power {
		m.disk.powerCut(m.image, m.chance)
	} else {
		m.disk.kill(m.image)
	}
}

func (m *model) clone() model {
	c := *m
	c.open = map[Key]*modelCall{}
	for k, v := range m.open {
		w := *v
		w.topUps = slices.Clone(v.topUps)
		c.open[k] = &w
	}
	c.queue = slices.Clone(m.queue)
	return c
}

func (m *machine) payload(most int) string {
	return rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00")), 0, most, most).Draw(m.t, "payload")
}

func (m *machine) someOpen() (Key, *modelCall, bool) {
	keys := make([]Key, 0, len(m.model.open))
	for k := range m.model.open {
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return Key{}, nil, false
	}
	slices.SortFunc(keys, func(a, b Key) int { return slices.Compare(a.Request[:], b.Request[:]) })
	k := rapid.SampledFrom(keys).Draw(m.t, "call")
	return k, m.model.open[k], true
}

// operate does one random operation, and keeps the model in step.
func (m *machine) operate() {
	t := m.t
	switch rapid.SampledFrom([]string{"open", "open", "open", "top up", "close", "close", "flush", "misuse"}).Draw(t, "operation") {
	case "open":
		m.model.next++
		k, p := key(m.model.next), m.payload(190)
		m.unsure = k
		m.model.opened[k] = modelCall{payload: p}
		if err := m.spool.WriteOpen(k, []byte(p)); full(t, err) {
			return
		}
		m.model.open[k] = &modelCall{payload: p, last: m.spool.last}
	case "top up":
		k, c, ok := m.someOpen()
		if !ok {
			return
		}
		p := m.payload(60)
		m.unsure = k
		o := m.model.opened[k]
		o.topUps = append(slices.Clone(c.topUps), p)
		m.model.opened[k] = o
		if err := m.spool.WriteTopUp(k, []byte(p)); full(t, err) {
			return
		}
		c.topUps, c.last = append(c.topUps, p), m.spool.last
	case "close":
		k, _, ok := m.someOpen()
		if !ok {
			return
		}
		p := m.payload(150)
		m.unsure = k
		m.model.closed[k] = p
		mode := rapid.SampledFrom([]Durability{Commit, Relaxed, Store}).Draw(t, "durability")
		var value any
		if rapid.IntRange(0, 3).Draw(t, "value") > 0 {
			value = p
		}
		position, err := m.spool.WriteClose(context.Background(), k, []byte(p), value, mode)
		if err != nil {
			t.Fatalf("the CLOSE of an open call: %v", err)
		}
		if mode == Commit && m.spool.synced < position {
			t.Fatalf("position %d is committed, and synced is %d", position, m.spool.synced)
		}
		delete(m.model.open, k)
		m.model.queue = append(m.model.queue, Entry{Position: position, Key: k, Payload: []byte(p)})
	case "flush":
		m.unsure = Key{}
		m.flush(rapid.IntRange(1, 20).Draw(t, "limit"), rapid.IntRange(0, 20).Draw(t, "done"))
	case "misuse":
		m.unsure = Key{}
		if err := m.spool.WriteTopUp(key(1<<20), nil); !errors.Is(err, ErrNotOpen) {
			t.Fatalf("a top-up of a call that is not open: %v", err)
		}
		if _, err := m.spool.WriteClose(context.Background(), key(1<<20), nil, nil, Commit); !errors.Is(err, ErrNotOpen) {
			t.Fatalf("the close of a call that is not open: %v", err)
		}
		if k, _, ok := m.someOpen(); ok {
			if err := m.spool.WriteOpen(k, nil); err == nil {
				t.Fatal("a call was opened twice")
			}
		}
	}
}

func full(t *rapid.T, err error) bool {
	var full *FullError
	if err != nil && !errors.As(err, &full) {
		t.Fatalf("write: %v", err)
	}
	return err != nil
}

func (m *machine) flush(limit, done int) {
	if len(m.model.queue) == 0 {
		return
	}
	entries, err := m.spool.Pending(context.Background(), limit)
	if err != nil {
		m.t.Fatalf("pending: %v", err)
	}
	want := m.model.queue[:min(limit, len(m.model.queue))]
	if len(entries) != len(want) {
		m.t.Fatalf("%d entries are pending; want %d", len(entries), len(want))
	}
	for i, e := range entries {
		said := string(e.Payload)
		if v, ok := e.Value.(string); ok {
			said += v // and the payload is empty
		}
		if w := want[i]; e.Key != w.Key || e.Position != w.Position || said != string(w.Payload) || e.Abandoned != w.Abandoned {
			m.t.Fatalf("entry %d is %+v; want %+v", i, e, w)
		}
	}
	if done = min(done, len(entries)); done > 0 {
		if m.crashIn > 0 {
			m.acked.queue = m.acked.queue[done:] // they are in the database already
		}
		if err := m.spool.Done(entries[done-1].Position); err != nil {
			m.t.Fatalf("done: %v", err)
		}
		m.model.queue = m.model.queue[done:]
	}
}

// pending drains what a spool has, without saying Done.
func pending(t interface{ Fatalf(string, ...any) }, s *Spool) []Entry {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	entries, err := s.Pending(ended, 1<<20)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatalf("pending: %v", err)
	}
	return entries
}

// end ends the process: at once, or in the middle of the operation in which
// the image was taken, or well. The next one reads what is left, and what it
// has read is compared with the model.
func (m *machine) end(well bool) {
	t, old := m.t, m.spool
	boundary := m.image == ""
	m.disk.before = nil
	if boundary {
		m.acked, m.unsure, m.synced = m.model.clone(), Key{}, old.synced
		if well {
			if err := old.Close(); err != nil {
				t.Fatalf("close: %v", err)
			}
			m.image, m.synced = m.disk.dir, old.last
		} else {
			m.takeImage()
		}
	}
	if m.power {
		m.cuts++
	}
	report := m.start(m.image)
	if !well {
		if err := old.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	m.image, m.crashIn = "", 0
	queue := pending(t, m.spool)
	if len(queue) != report.Closed+report.Abandoned {
		t.Fatalf("%d entries, and the report is %+v", len(queue), report)
	}
	m.compare(queue)
	switch damaged := slices.ContainsFunc(report.Damage, func(d Damage) bool { return !d.Torn }); {
	case m.power && !well && (report.SameBoot || report.Complete):
		t.Fatalf("after a power cut: %+v", report)
	case m.cuts == 0 && damaged, m.cuts == 0 && boundary && !m.doubt && !report.Complete:
		t.Fatalf("nothing was lost, and the report is %+v", report)
	default:
		m.doubt = !well && (m.doubt || !boundary)
	}
	m.model = m.acked
	m.model.open = map[Key]*modelCall{}
	m.model.queue = queue
}

func (m *machine) compare(queue []Entry) {
	t := m.t
	seen := map[Key]Entry{}
	var last Position
	for _, e := range queue {
		if _, twice := seen[e.Key]; twice || e.Position <= last {
			t.Fatalf("%+v comes twice or out of order", e)
		}
		seen[e.Key], last = e, e.Position
		payload, closed := m.acked.closed[e.Key]
		o, opened := m.acked.opened[e.Key]
		switch {
		case e.Abandoned && (!opened || o.payload != string(e.Payload) || !subsequence(e.TopUps, o.topUps)):
			t.Fatalf("%+v was never opened so: %+v", e, o)
		case e.Value != nil:
			t.Fatalf("%+v has a value of another process", e)
		case !e.Abandoned && (!closed || payload != string(e.Payload)):
			t.Fatalf("%+v was never closed so: %q", e, payload)
		}
	}
	for _, w := range m.acked.queue {
		if m.power && w.Position > m.synced {
			continue
		}
		if e, ok := seen[w.Key]; !ok || e.Abandoned != w.Abandoned {
			t.Fatalf("%+v was accepted, and is %+v, %t", w, e, ok)
		}
	}
	for k, c := range m.acked.open {
		if m.power && c.last > m.synced {
			continue
		}
		e, ok := seen[k]
		if !ok || !e.Abandoned && k != m.unsure {
			t.Fatalf("%v was open, and is %+v, %t", k, e, ok)
		}
		if e.Abandoned && len(e.TopUps) < len(c.topUps) {
			t.Fatalf("%v had %d top-ups, and has %d", k, len(c.topUps), len(e.TopUps))
		}
	}
}

func subsequence(some [][]byte, all []string) bool {
	for _, s := range some {
		i := slices.Index(all, string(s))
		if i < 0 {
			return false
		}
		all = all[i+1:]
	}
	return true
}

// Random operations, crashes at random system calls, with and without loss of
// power, several in a row: whatever was accepted is there.
func TestWhatIsAcceptedSurvives(t *testing.T) {
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(root, "run")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		m := &machine{t: t, root: dir, model: model{open: map[Key]*modelCall{}, closed: map[Key]string{}, opened: map[Key]modelCall{}}}
		// Random numbers of its own: rapid's are for what it can make smaller.
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed of the power cut"), 0))
		m.chance = func() bool { return random.IntN(2) == 0 }
		m.start(m.folder())
		defer func() { _ = m.spool.Close() }()
		for range rapid.IntRange(1, 3).Draw(t, "crashes") {
			way := rapid.SampledFrom([]string{"kill", "power cut", "close"}).Draw(t, "end")
			m.power = way == "power cut"
			if way != "close" {
				m.crashIn = rapid.IntRange(0, 150).Draw(t, "system call")
			}
			for range rapid.IntRange(0, 150).Draw(t, "operations") {
				if m.crashIn > 0 {
					m.acked = m.model.clone()
				}
				if m.operate(); m.image != "" {
					break
				}
			}
			m.end(way == "close")
		}
	})
}
