package ledger

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/spool"
)

// A letter is what its record was: an entry, or, of an attempt that nobody ended,
// its newest opening. Neither is taken for the other.
func TestALetterIsWhatItsRecordWas(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		o, want := drawRecords(t)
		want.Line.Outcome = rapid.SampledFrom(accounting.Outcomes()).Draw(t, "outcome")
		got, err := LetterOf(&want, errRecord).Entry(now)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("entry\n%+v, %v; want\n%+v", got, err, want)
		}
		for i := range o.claims {
			o.claims[i].Window.ID = "acme/cap/" + o.claims[i].Window.ID
		}
		doubt, wrong := o.inDoubt(now)
		if wrong != nil {
			return // what it is worth does not fit
		}
		letter := DeadLetter{RequestID: o.attempt.RequestID, Payload: lastOf(&spool.Entry{Payload: []byte("older"), TopUps: [][]byte{o.append(nil)}})}
		if got, err := letter.Entry(now); err != nil || !reflect.DeepEqual(got, doubt) {
			t.Fatalf("opening\n%+v, %v; want\n%+v", got, err, doubt)
		}
	})
}

func TestALetterThatIsNoRecord(t *testing.T) {
	e := Entry{Line: accounting.Line{Attempt: accounting.Attempt{RequestID: "call"}, Outcome: accounting.OutcomeCompleted}}
	other := LetterOf(&e, errRecord)
	other.RequestID = "another"
	e.Line.Outcome = "odd"
	newer := LetterOf(&e, errRecord)
	newer.Payload[0] = 99
	for name, d := range map[string]DeadLetter{
		"nothing": {}, "text": {Payload: []byte(`{"attempt": 1}`)}, "another's": other, "an unknown outcome": LetterOf(&e, errRecord), "a newer Weir's": newer,
	} {
		if got, err := d.Entry(time.Now()); err == nil || !strings.Contains(err.Error(), "cannot be read") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
