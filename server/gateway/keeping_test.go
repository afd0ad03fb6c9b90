package gateway

import (
	"testing"

	"github.com/weir-gateway/weir/accounting/outputlog"
	"github.com/weir-gateway/weir/policy"
)

// plain is a sink that cannot begin again.
type plain struct{}

func (plain) Start(*Answer) error { return nil }
func (plain) Delta(Delta) error   { return nil }
func (plain) Flush() error        { return nil }

// Where no content is kept the sink is the caller's own, so that a token costs
// what it costs without an output log. And a sink that is wrapped stays what it
// was: one that seems to take back what it cannot would be tried again.
func TestTheSinkIsWrappedOnlyToKeepContent(t *testing.T) {
	const all = 1_000_000
	for _, c := range []struct {
		outputs policy.Outputs
		purpose string
		wrapped bool
	}{
		{policy.Outputs{Mode: outputlog.ModeNone, Sample: all}, "", false},
		{policy.Outputs{Mode: outputlog.ModeMetadata, Sample: all}, "", false},
		{policy.Outputs{Mode: outputlog.ModeRedacted, Sample: all}, "", true},
		{policy.Outputs{Mode: outputlog.ModeFull, Sample: all}, "", true},
		{policy.Outputs{Mode: outputlog.ModeFull}, "", false},
		{policy.Outputs{Mode: outputlog.ModeFull, Sample: all}, "guard", false},
	} {
		for _, sink := range []Sink{plain{}, &Collector{}} {
			var k keeping
			got := k.begin(&Call{RequestID: "r", Purpose: c.purpose}, c.outputs, sink)
			_, restarts := sink.(Restarter)
			if _, still := got.(Restarter); (got != sink) != c.wrapped || still != restarts {
				t.Errorf("%+v of purpose %q: %T became %T", c.outputs, c.purpose, sink, got)
			}
		}
	}
}
