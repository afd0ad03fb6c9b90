package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/price"
)

// Records are what the spool carries: an opening when an attempt begins, and
// again whenever it may have more, and an entry when it has ended. They are written in the order of their fields:
// numbers as varints, texts and lists with their length before them, times as
// microseconds of Unix time, and what may be absent with a byte that tells. The
// first byte is the version of that order. An older Weir refuses a newer
// record, and a newer one reads the older.
const recordVersion = 2

// unreasoned is the last version without the reason of an attempt's target.
const unreasoned = 1

// ratedVersion is that of an opening with exchange rates behind it. One without
// any is written as an older Weir reads it.
const ratedVersion = 3

// classVersion is that of a record with the class of service that was asked for,
// and in an entry the one that has served, at its end. One of a call where neither
// was named is written as an older Weir reads it.
const classVersion = 4

var errRecord = errors.New("a record of the spool cannot be read: it is of a newer Weir, or damaged in a way that its checksum does not show")

// An opening is an attempt before its outcome is known: what it holds, of which
// leases, and the most that it can use and cost. Cost is nil where no price is
// known.
type opening struct {
	attempt accounting.Attempt
	claims  []claimed
	bound   accounting.Usage
	cost    *accounting.Cost
	// rates are pinned: what the attempt is worth in other currencies than its
	// price's, it is worth by them until it has ended.
	rates []price.FxRate
}

// claimed is an amount that is held in a window, and how much of it a lease of
// this replica covers.
type claimed struct {
	accounting.Claim
	lease   lease.ID
	covered int64
}

func (o *opening) append(b []byte) []byte {
	version := byte(recordVersion)
	switch {
	case o.attempt.AskedClass != "":
		version = classVersion
	case len(o.rates) > 0:
		version = ratedVersion
	}
	b = append(b, version)
	b = appendAttempt(b, &o.attempt)
	b = binary.AppendUvarint(b, uint64(len(o.claims)))
	for i := range o.claims {
		c := &o.claims[i]
		b = appendWindow(b, c.Window)
		b = binary.AppendVarint(b, c.Amount)
		b = appendLease(b, c.lease)
		b = binary.AppendVarint(b, c.covered)
	}
	b = appendCost(appendUsage(b, o.bound), o.cost)
	if version >= ratedVersion {
		b = binary.AppendUvarint(b, uint64(len(o.rates)))
		for _, r := range o.rates {
			b = binary.AppendVarint(appendText(appendText(b, r.From), r.To), int64(r.Rate))
			b = appendTime(b, r.Effective)
		}
	}
	if version == classVersion {
		b = appendText(b, string(o.attempt.AskedClass))
	}
	return b
}

func readOpening(b []byte) (opening, error) {
	r := reader{b: b, all: string(b), windows: new(knownWindows)}
	r.version(classVersion)
	o := opening{attempt: r.attempt()}
	for range r.length() {
		o.claims = append(o.claims, claimed{accounting.Claim{Window: r.window(), Amount: r.number()}, r.lease(), r.number()})
	}
	o.bound, o.cost = r.usage(), r.cost()
	if r.wrote >= ratedVersion {
		for range r.length() {
			o.rates = append(o.rates, price.FxRate{From: r.text(), To: r.text(), Rate: accounting.Pico(r.number()), Effective: r.time()})
		}
	}
	if r.wrote == classVersion {
		o.attempt.AskedClass = accounting.ServiceClass(r.text())
	}
	return o, r.end()
}

// append writes an entry.
func (e *Entry) append(b []byte) []byte {
	l := &e.Line
	version := byte(recordVersion)
	if l.AskedClass != "" || l.ServedClass != "" {
		version = classVersion
	}
	b = append(b, version)
	b = appendAttempt(b, &l.Attempt)
	b = binary.AppendVarint(b, int64(l.Number))
	b = appendTime(b, l.End)
	b = appendText(b, string(l.Outcome))
	b = appendUsage(b, l.Usage)
	b = appendText(b, string(l.Source))
	b = appendUsage(b, l.OwnUsage)
	b = appendCost(b, l.Cost)
	b = binary.AppendUvarint(b, uint64(len(e.Settled)))
	for i := range e.Settled {
		s := &e.Settled[i]
		b = appendWindow(b, s.Window)
		b = appendLease(b, s.Lease)
		b = binary.AppendVarint(b, s.Amount)
		b = binary.AppendVarint(b, s.Uncovered)
	}
	if version == classVersion {
		b = appendText(appendText(b, string(l.AskedClass)), string(l.ServedClass))
	}
	return b
}

// readEntry reads an entry, of whose windows those that are known already are
// not read again.
func readEntry(b []byte, known *knownWindows) (Entry, error) {
	r := reader{b: b, all: string(b), windows: known}
	r.version(classVersion)
	e := Entry{Line: accounting.Line{
		Attempt: r.attempt(), Number: int(r.number()), End: r.time(), Outcome: accounting.Outcome(r.text()),
		Usage: r.usage(), Source: accounting.Source(r.text()), OwnUsage: r.usage(), Cost: r.cost(),
	}}
	n := r.length()
	if n > 0 {
		e.Settled = make([]Settled, 0, min(n, 16)) // a damaged length takes no memory
	}
	for range n {
		e.Settled = append(e.Settled, Settled{Window: r.window(), Lease: r.lease(), Amount: r.number(), Uncovered: r.number()})
	}
	if r.wrote == classVersion {
		e.Line.AskedClass, e.Line.ServedClass = accounting.ServiceClass(r.text()), accounting.ServiceClass(r.text())
	}
	return e, r.end()
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	return binary.AppendVarint(append(b, 1), t.UnixMicro())
}

func appendAttempt(b []byte, a *accounting.Attempt) []byte {
	s := &a.Subject
	b = binary.AppendVarint(b, int64(a.Number))
	for _, text := range [...]string{
		a.RequestID, a.ClientRequestID, a.ParentRequestID, a.Purpose, s.Tenant, s.Project, s.Key, s.EndUser, s.Session,
		a.Model, a.Backend, a.BackendModel, a.Reason,
	} {
		b = appendText(b, text)
	}
	b = binary.AppendUvarint(b, uint64(len(s.Labels)))
	if len(s.Labels) > 0 {
		for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
			b = appendText(appendText(b, key), s.Labels[key])
		}
	}
	return appendTime(appendTime(b, a.Start), a.Deadline)
}

// appendWindow leaves out what matters for grants alone.
func appendWindow(b []byte, w *accounting.Window) []byte {
	b = appendText(appendText(appendText(b, w.ID), w.Budget), w.Tenant)
	b = appendText(appendText(b, w.Scope), string(w.Unit))
	b = binary.AppendVarint(appendTime(appendTime(b, w.Start), w.End), w.Limit)
	return appendTime(appendText(b, w.Series), w.Since)
}

func appendLease(b []byte, id lease.ID) []byte {
	return binary.AppendVarint(binary.AppendVarint(appendText(b, id.Replica), id.Incarnation), id.Number)
}

// appendUsage writes how many meters there are, so that records from before one
// was added can be read.
func appendUsage(b []byte, u accounting.Usage) []byte {
	meters := accounting.Meters()
	b = binary.AppendUvarint(b, uint64(len(meters)))
	for _, m := range meters {
		n, known := u.Get(m)
		if !known {
			b = append(b, 0)
			continue
		}
		b = binary.AppendVarint(append(b, 1), n)
	}
	return b
}

func appendMoney(b []byte, m accounting.Money) []byte {
	return binary.AppendVarint(appendText(b, m.Currency), m.Nanos)
}

func appendCost(b []byte, c *accounting.Cost) []byte {
	if c == nil {
		return append(b, 0)
	}
	b = appendMoney(appendMoney(append(b, 1), c.ProviderCost), c.Charge)
	b = binary.AppendUvarint(b, uint64(len(c.Items)))
	for i := range c.Items {
		item := &c.Items[i]
		b = appendText(b, item.Meter.String())
		b = binary.AppendVarint(b, item.Quantity)
		b = binary.AppendVarint(b, int64(item.Price))
		b = appendMoney(b, item.Amount)
	}
	return appendText(b, c.PriceVersion)
}

// reader reads what append wrote. After a failure it reads zeros.
type reader struct {
	b []byte
	// all is the whole record, of which texts are parts: one piece of memory is
	// less than one for each.
	all   string
	wrote byte // the version of what is read
	// windows were read before, of this record and others.
	windows *knownWindows
	err     error
}

func (r *reader) fail() { r.b, r.err = nil, errRecord }

// version reads the version, which may be one of those up to newest.
func (r *reader) version(newest byte) {
	if r.wrote = r.byte(); r.wrote < unreasoned || r.wrote > newest {
		r.fail()
	}
}

func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail()
	}
	return r.err
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) known() bool { return r.byte() == 1 }

func (r *reader) number() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

// length is that of a list or a text; every element takes a byte at least.
func (r *reader) length() int {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > uint64(len(r.b)-size) {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return int(n)
}

func (r *reader) text() string {
	n := r.length()
	at := len(r.all) - len(r.b)
	r.b = r.b[n:]
	return r.all[at:][:n]
}

func (r *reader) time() time.Time {
	if !r.known() {
		return time.Time{}
	}
	return time.UnixMicro(r.number()).UTC()
}

func (r *reader) attempt() accounting.Attempt {
	a := accounting.Attempt{Number: int(r.number())}
	s := &a.Subject
	for _, to := range [...]*string{
		&a.RequestID, &a.ClientRequestID, &a.ParentRequestID, &a.Purpose, &s.Tenant, &s.Project, &s.Key, &s.EndUser, &s.Session,
		&a.Model, &a.Backend, &a.BackendModel,
	} {
		*to = r.text()
	}
	if r.wrote > unreasoned {
		a.Reason = r.text()
	}
	if n := r.length(); n > 0 {
		s.Labels = make(map[string]string, n)
		for range n {
			key := r.text()
			s.Labels[key] = r.text()
		}
	}
	a.Start, a.Deadline = r.time(), r.time()
	return a
}

// window reads a window, or finds that it is known.
func (r *reader) window() *accounting.Window {
	if w, size := r.windows.find(r.b); w != nil {
		r.b = r.b[size:]
		return w
	}
	before := len(r.all) - len(r.b)
	w := accounting.Window{ID: r.text(), Budget: r.text(), Tenant: r.text(), Scope: r.text(), Unit: accounting.Unit(r.text())}
	w.Start, w.End, w.Limit = r.time(), r.time(), r.number()
	w.Series, w.Since = r.text(), r.time()
	if r.err == nil {
		r.windows.add(r.all[before:len(r.all)-len(r.b)], &w)
	}
	return &w
}

func (r *reader) lease() lease.ID {
	return lease.ID{Replica: r.text(), Incarnation: r.number(), Number: r.number()}
}

func (r *reader) usage() (u accounting.Usage) {
	meters := accounting.Meters()
	n := r.length()
	if n > len(meters) {
		r.fail()
		return u
	}
	for _, m := range meters[:n] {
		if r.known() {
			u.Set(m, r.number())
		}
	}
	return u
}

func (r *reader) money() accounting.Money {
	return accounting.Money{Currency: r.text(), Nanos: r.number()}
}

func (r *reader) cost() *accounting.Cost {
	if !r.known() {
		return nil
	}
	c := &accounting.Cost{ProviderCost: r.money(), Charge: r.money()}
	n := r.length()
	if n > 0 {
		c.Items = make([]accounting.Item, 0, min(n, 16))
	}
	for range n {
		m, err := accounting.ParseMeter(r.text())
		if err != nil && r.err == nil {
			r.err = fmt.Errorf("%w: %w", errRecord, err)
		}
		c.Items = append(c.Items, accounting.Item{Meter: m, Quantity: r.number(), Price: accounting.Pico(r.number()), Amount: r.money()})
	}
	c.PriceVersion = r.text()
	return c
}

// knownWindows are windows that were read, with what was read. Almost all
// entries of a batch feed the same few, in the same order, so a window is looked
// for where the one before it was found. As what is written of a window tells
// where it ends, what begins like a known one is that.
type knownWindows struct {
	list []knownWindow
	next int
}

type knownWindow struct {
	written string
	window  *accounting.Window
}

// mostKnown is how many windows are tried: to read one costs about as much.
const mostKnown = 16

func (k *knownWindows) find(b []byte) (w *accounting.Window, size int) {
	for i := range k.list {
		at := (k.next + i) % len(k.list)
		if known := &k.list[at]; len(b) >= len(known.written) && string(b[:len(known.written)]) == known.written {
			k.next = at + 1
			return known.window, len(known.written)
		}
	}
	return nil, 0
}

func (k *knownWindows) add(written string, w *accounting.Window) {
	if len(k.list) < mostKnown {
		k.next = len(k.list)
		k.list = append(k.list, knownWindow{})
	}
	k.next %= len(k.list)
	k.list[k.next] = knownWindow{written, w}
	k.next++
}
