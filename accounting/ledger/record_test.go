package ledger

import (
	"encoding/hex"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/price"
)

// Times are whole microseconds, as everywhere in the ledger.
func aTime() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.IntRange(0, 9).Draw(t, "no time") == 0 {
			return time.Time{}
		}
		return time.UnixMicro(rapid.Int64Range(-1<<52, 1<<52).Draw(t, "time")).UTC()
	})
}

// A window is recorded without what matters for grants alone.
func aWindow() *rapid.Generator[accounting.Window] {
	return rapid.Custom(func(t *rapid.T) accounting.Window {
		text := rapid.String()
		return accounting.Window{
			ID: text.Draw(t, "id"), Budget: text.Draw(t, "budget"), Tenant: text.Draw(t, "tenant"), Scope: text.Draw(t, "scope"),
			Unit: accounting.Unit(text.Draw(t, "unit")), Start: aTime().Draw(t, "start"), End: aTime().Draw(t, "end"),
			Limit: rapid.Int64().Draw(t, "limit"), Series: text.Draw(t, "series"), Since: aTime().Draw(t, "since"),
		}
	})
}

func aUsage() *rapid.Generator[accounting.Usage] {
	return rapid.Custom(func(t *rapid.T) (u accounting.Usage) {
		for _, m := range accounting.Meters() {
			if rapid.Bool().Draw(t, "counted") {
				u.Set(m, rapid.Int64Range(0, 1<<62).Draw(t, "count"))
			}
		}
		return u
	})
}

func aCost() *rapid.Generator[*accounting.Cost] {
	return rapid.Custom(func(t *rapid.T) *accounting.Cost {
		if rapid.IntRange(0, 3).Draw(t, "no price") == 0 {
			return nil
		}
		money := func(name string) accounting.Money {
			return accounting.Money{Currency: "USD", Nanos: rapid.Int64().Draw(t, name)}
		}
		c := &accounting.Cost{ProviderCost: money("provider cost"), Charge: money("charge"), PriceVersion: rapid.String().Draw(t, "version")}
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			c.Items = append(c.Items, accounting.Item{
				Meter: rapid.SampledFrom(accounting.Meters()).Draw(t, "meter"), Quantity: rapid.Int64().Draw(t, "quantity"),
				Price: accounting.Pico(rapid.Int64().Draw(t, "price")), Amount: money("amount"),
			})
		}
		return c
	})
}

func anAttempt() *rapid.Generator[accounting.Attempt] {
	return rapid.Custom(func(t *rapid.T) accounting.Attempt {
		text := rapid.String()
		a := accounting.Attempt{
			RequestID: text.Draw(t, "request id"), ClientRequestID: text.Draw(t, "client request id"), ParentRequestID: text.Draw(t, "parent"),
			Purpose: text.Draw(t, "purpose"), Number: rapid.IntRange(1, 1<<30).Draw(t, "number"),
			Subject: accounting.Subject{
				Tenant: text.Draw(t, "tenant"), Project: text.Draw(t, "project"), Key: text.Draw(t, "key"),
				EndUser: text.Draw(t, "end user"), Session: text.Draw(t, "session"),
			},
			Model: text.Draw(t, "model"), Backend: text.Draw(t, "backend"), BackendModel: text.Draw(t, "backend model"), Reason: text.Draw(t, "reason"),
			AskedClass: accounting.ServiceClass(text.Draw(t, "asked class")),
			Start:      aTime().Draw(t, "start"), Deadline: aTime().Draw(t, "deadline"),
		}
		if rapid.Bool().Draw(t, "labelled") {
			a.Subject.Labels = rapid.MapOfN(text, text, 1, 3).Draw(t, "labels")
		}
		return a
	})
}

func aLease() *rapid.Generator[lease.ID] {
	return rapid.Custom(func(t *rapid.T) lease.ID {
		return lease.ID{Replica: rapid.String().Draw(t, "replica"), Incarnation: rapid.Int64Min(0).Draw(t, "incarnation"), Number: rapid.Int64Min(0).Draw(t, "number")}
	})
}

// drawRecords draws an opening and an entry of the same attempt.
func drawRecords(t *rapid.T) (opening, Entry) {
	o := opening{attempt: anAttempt().Draw(t, "attempt"), bound: aUsage().Draw(t, "bound"), cost: aCost().Draw(t, "cost")}
	e := Entry{Line: accounting.Line{
		Attempt: o.attempt, Number: rapid.IntRange(0, 1<<30).Draw(t, "line"), End: aTime().Draw(t, "end"),
		Outcome: accounting.Outcome(rapid.String().Draw(t, "outcome")), Usage: aUsage().Draw(t, "usage"),
		Source: accounting.Source(rapid.String().Draw(t, "source")), OwnUsage: aUsage().Draw(t, "own usage"),
		ServedClass: accounting.ServiceClass(rapid.String().Draw(t, "served class")), Cost: aCost().Draw(t, "cost"),
	}}
	for range rapid.IntRange(0, 2).Draw(t, "rates") {
		o.rates = append(o.rates, price.FxRate{From: rapid.String().Draw(t, "from"), To: rapid.String().Draw(t, "to"), Rate: accounting.Pico(rapid.Int64().Draw(t, "rate")), Effective: aTime().Draw(t, "effective")})
	}
	for range rapid.IntRange(0, 3).Draw(t, "windows") {
		w, id := aWindow().Draw(t, "window"), aLease().Draw(t, "lease")
		o.claims = append(o.claims, claimed{accounting.Claim{Window: &w, Amount: rapid.Int64().Draw(t, "amount")}, id, rapid.Int64().Draw(t, "covered")})
		e.Settled = append(e.Settled, Settled{Window: &w, Lease: id, Amount: rapid.Int64().Draw(t, "amount"), Uncovered: rapid.Int64().Draw(t, "uncovered")})
	}
	return o, e
}

// What is written comes back, in every field there is.
func TestRecordsComeBack(t *testing.T) {
	known := new(knownWindows)
	rapid.Check(t, func(t *rapid.T) {
		o, e := drawRecords(t)
		if got, err := readOpening(o.append(nil)); err != nil || !reflect.DeepEqual(got, o) {
			t.Fatalf("read %+v, %v; want %+v", got, err, o)
		}
		for range 2 { // the second time the windows are known
			if got, err := readEntry(e.append(nil), known); err != nil || !reflect.DeepEqual(got, e) {
				t.Fatalf("read %+v, %v; want %+v", got, err, e)
			}
		}
	})
}

// A window is known by its bytes: those that differ in any one field, the last
// too, are told apart, and are right when more are read than are remembered.
func TestKnownWindowsAreToldApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, moment := rapid.SampledFrom([]string{"a", "b"}), rapid.SampledFrom([]time.Time{{}, time.UnixMicro(1).UTC(), time.UnixMicro(2).UTC()})
		known := new(knownWindows)
		for range rapid.IntRange(1, 8).Draw(t, "entries") {
			var e Entry
			for range rapid.IntRange(0, 6).Draw(t, "windows") {
				e.Settled = append(e.Settled, Settled{Window: &accounting.Window{
					ID: text.Draw(t, "id"), Budget: "cap", Tenant: "acme", Scope: "tenant", Unit: "USD",
					Start: moment.Draw(t, "start"), Limit: rapid.Int64Range(1, 2).Draw(t, "limit"), Since: moment.Draw(t, "since"),
				}, Amount: 1})
			}
			if got, err := readEntry(e.append(nil), known); err != nil || !reflect.DeepEqual(got, e) {
				t.Fatalf("read %+v, %v; want %+v", got, err, e)
			}
		}
	})
}

// What a Weir of the version before has left in a spool is read, without a reason.
func TestRecordsOfTheVersionBefore(t *testing.T) {
	want := accounting.Attempt{
		RequestID: "call", Number: 2, Subject: accounting.Subject{Tenant: "acme", Project: "default", Key: "k1", Labels: map[string]string{"team": "blue"}},
		Model: "m", Backend: "b", BackendModel: "bm", Start: time.UnixMicro(1).UTC(), Deadline: time.UnixMicro(2).UTC(),
	}
	bytes := func(text string) []byte {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	o, err := readOpening(bytes("01040463616c6c0000000461636d650764656661756c74026b310000016d016202626d01047465616d04626c75650102010400070000000000000000"))
	if err != nil || !reflect.DeepEqual(o.attempt, want) {
		t.Errorf("read %+v, %v; want %+v", o.attempt, err, want)
	}
	e, err := readEntry(bytes("01040463616c6c0000000461636d650764656661756c74026b310000016d016202626d01047465616d04626c756501020104000009636f6d706c6574656407000000000000000007000000000000000000"), new(knownWindows))
	if err != nil || !reflect.DeepEqual(e.Line.Attempt, want) || e.Line.Outcome != accounting.OutcomeCompleted {
		t.Errorf("read %+v, %v; want %+v", e.Line, err, want)
	}
}

// A record of a call where nobody named a class of service is one that a Weir of
// the version before reads.
func TestRecordsForTheVersionBefore(t *testing.T) {
	for class, want := range map[accounting.ServiceClass]byte{"": recordVersion, accounting.ServiceFlex: classVersion} {
		o := opening{attempt: accounting.Attempt{AskedClass: class}}
		e := Entry{Line: accounting.Line{ServedClass: class}}
		if got := [...]byte{o.append(nil)[0], e.append(nil)[0]}; got != [...]byte{want, want} {
			t.Errorf("class %q: versions %v; want %d", class, got, want)
		}
	}
}

// A generator that leaves a field at zero proves nothing of it.
func TestTheGeneratorsFillEveryField(t *testing.T) {
	seen := map[string]bool{}
	var look func(v reflect.Value, path string)
	look = func(v reflect.Value, path string) {
		seen[path] = seen[path] || !v.IsZero()
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				look(v.Elem(), path)
			}
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[accounting.Usage]() {
				return
			}
			for i := range v.NumField() {
				look(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
		case reflect.Slice:
			for i := range v.Len() {
				look(v.Index(i), path)
			}
		}
	}
	for seed := range 50 {
		look(reflect.ValueOf(anAttempt().Example(seed)), "attempt")
		w := aWindow().Example(seed)
		w.Shadow, w.Grace, w.Cut = true, 1, true
		look(reflect.ValueOf(w), "window")
		look(reflect.ValueOf(aCost().Example(seed)), "cost")
		look(reflect.ValueOf(aLease().Example(seed)), "lease")
	}
	for path, filled := range seen {
		if !filled {
			t.Errorf("%s is never set", path)
		}
	}
}

// FuzzRecords reads what a damaged or hostile file may hold: it is refused, or
// read as something that is written in the same way.
func FuzzRecords(f *testing.F) {
	f.Add((&opening{attempt: anAttempt().Example(1), claims: []claimed{{accounting.Claim{Window: new(aWindow().Example(1)), Amount: 5}, aLease().Example(1), 3}}, cost: aCost().Example(2)}).append(nil))
	f.Add((&Entry{Line: accounting.Line{Attempt: anAttempt().Example(2), Usage: aUsage().Example(1)}}).append(nil))
	f.Add((&opening{attempt: anAttempt().Example(3), rates: []price.FxRate{{From: "USD", To: "CNY", Rate: 7}}}).append(nil))
	f.Add([]byte{classVersion + 1})
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := readOpening(b); err == nil {
			if again, err := readOpening(o.append(nil)); err != nil || !reflect.DeepEqual(again, o) {
				t.Errorf("read again: %+v, %v; want %+v", again, err, o)
			}
		}
		if e, err := readEntry(b, new(knownWindows)); err == nil {
			if again, err := readEntry(e.append(nil), new(knownWindows)); err != nil || !reflect.DeepEqual(again, e) {
				t.Errorf("read again: %+v, %v; want %+v", again, err, e)
			}
		}
	})
}
