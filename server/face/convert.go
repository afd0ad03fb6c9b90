package face

import (
	"math"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weir-gateway/weir/accounting"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/gateway"
)

// Verdict is a finding as weir.v1 tells it.
func Verdict(v policy.Verdict) *weirv1.Verdict {
	out := &weirv1.Verdict{
		Guard: v.Guard, Rule: v.Rule, Policy: v.Policy, PolicyRevision: v.Revision, Category: v.Category,
		Severity: severities[v.Severity], Score: v.Score, Action: actions[v.Action],
		Channel: string(v.Channel), Start: proto.Int64(v.Start), End: proto.Int64(v.End), Count: 1 + v.More,
	}
	if v.Stage == policy.Output {
		out.Stage, out.CandidateIndex = weirv1.Stage_STAGE_OUTPUT, proto.Int32(int32(v.Candidate))
		return out
	}
	out.Stage = weirv1.Stage_STAGE_INPUT
	if v.Message >= 0 { // else it is in what defines a tool, or the form of the answer
		out.MessageIndex = proto.Int32(int32(v.Message))
	}
	if v.Part >= 0 { // else it is in the name of who speaks
		out.PartIndex = proto.Int32(int32(v.Part))
	}
	return out
}

// Stage is where a rule looks as weir.v1 tells it.
func Stage(s policy.Stage) weirv1.Stage {
	if s == policy.Output {
		return weirv1.Stage_STAGE_OUTPUT
	}
	return weirv1.Stage_STAGE_INPUT
}

// Action is what a rule does as weir.v1 tells it.
func Action(a policy.Action) weirv1.Action { return actions[a] }

// Verdicts are findings as weir.v1 tells them.
func Verdicts(all []policy.Verdict) []*weirv1.Verdict {
	out := make([]*weirv1.Verdict, len(all))
	for i, v := range all {
		out[i] = Verdict(v)
	}
	return out
}

var severities = map[policy.Severity]weirv1.Severity{
	policy.Low:    weirv1.Severity_SEVERITY_LOW,
	policy.Medium: weirv1.Severity_SEVERITY_MEDIUM,
	policy.High:   weirv1.Severity_SEVERITY_HIGH,
}

var actions = map[policy.Action]weirv1.Action{
	policy.Shadow: weirv1.Action_ACTION_SHADOW,
	policy.Flag:   weirv1.Action_ACTION_FLAG,
	policy.Redact: weirv1.Action_ACTION_REDACT,
	policy.Block:  weirv1.Action_ACTION_BLOCK,
}

// Money is an amount as weir.v1 tells it.
func Money(m accounting.Money) *weirv1.Money {
	units, nanos := m.Units()
	return &weirv1.Money{CurrencyCode: m.Currency, Units: units, Nanos: nanos}
}

// AmountOf reads an amount of weir.v1. It fails with accounting.ErrOverflow
// where nanos in 64 bits cannot hold it.
func AmountOf(m *weirv1.Money) (accounting.Money, error) {
	const nanos = 1_000_000_000
	units := m.GetUnits()
	if units > math.MaxInt64/nanos || units < math.MinInt64/nanos {
		return accounting.Money{}, accounting.ErrOverflow
	}
	sum, fits := accounting.AddInt64(units*nanos, int64(m.GetNanos()))
	if !fits {
		return accounting.Money{}, accounting.ErrOverflow
	}
	return accounting.Money{Currency: m.GetCurrencyCode(), Nanos: sum}, nil
}

// Usage is what was used as weir.v1 tells it, absent where nobody counted.
func Usage(u accounting.Usage, source accounting.Source) *weirv1.Usage {
	if !u.Known() {
		return nil
	}
	known := func(n int64, ok bool) *int64 {
		if !ok {
			return nil
		}
		return &n
	}
	return &weirv1.Usage{
		InputTokens:         known(u.InputTokens()),
		OutputTokens:        known(u.OutputTokens()),
		UncachedInputTokens: known(u.Get(accounting.Input)),
		CacheReadTokens:     known(u.Get(accounting.CacheRead)),
		CacheWrite_5MTokens: known(u.Get(accounting.CacheWrite5m)),
		CacheWrite_1HTokens: known(u.Get(accounting.CacheWrite1h)),
		TextOutputTokens:    known(u.Get(accounting.Output)),
		ReasoningTokens:     known(u.Get(accounting.Reasoning)),
		Source:              sources[source],
	}
}

var sources = map[accounting.Source]weirv1.QuantitySource{
	accounting.SourceProvider:    weirv1.QuantitySource_QUANTITY_SOURCE_PROVIDER,
	accounting.SourceGateway:     weirv1.QuantitySource_QUANTITY_SOURCE_GATEWAY,
	accounting.SourceEstimate:    weirv1.QuantitySource_QUANTITY_SOURCE_ESTIMATE,
	accounting.SourceReservation: weirv1.QuantitySource_QUANTITY_SOURCE_RESERVATION,
	accounting.SourceReconciled:  weirv1.QuantitySource_QUANTITY_SOURCE_RECONCILED,
}

// Cost is what a call cost as weir.v1 tells it, absent where no price is known.
func Cost(c *accounting.Cost) *weirv1.Cost {
	if c == nil {
		return nil
	}
	out := &weirv1.Cost{Total: Money(c.Charge), PriceVersion: c.PriceVersion}
	for _, item := range c.Items {
		out.Lines = append(out.Lines, &weirv1.CostLine{
			Meter: meters[item.Meter], Quantity: item.Quantity, UnitPrice: item.Price.Decimal(), Amount: Money(item.Amount),
		})
	}
	return out
}

// Meter is the name that a meter has in weir.v1.
func Meter(m accounting.Meter) string { return meters[m] }

// meters are the names that the fields of weir.v1.Usage have.
var meters = map[accounting.Meter]string{
	accounting.Input:        "uncached_input_tokens",
	accounting.CacheRead:    "cache_read_tokens",
	accounting.CacheWrite5m: "cache_write_5m_tokens",
	accounting.CacheWrite1h: "cache_write_1h_tokens",
	accounting.Output:       "text_output_tokens",
	accounting.Reasoning:    "reasoning_tokens",
	accounting.Requests:     "requests",
}

// Target is what served a call as weir.v1 tells it.
func Target(a *gateway.Answer) *weirv1.Target {
	t := a.Target
	out := &weirv1.Target{
		RequestedModel: t.Requested, Model: t.Model, Backend: t.Backend, BackendModel: t.BackendModel, Attempt: int32(a.Attempts), Reason: t.Reason,
	}
	out.ServiceClass = serviceClasses[a.ServiceClass]
	if t.InjectedMaxOutputTokens > 0 {
		out.InjectedMaxOutputTokens = proto.Int32(int32(t.InjectedMaxOutputTokens))
	}
	if a.Cache == gateway.CacheHit {
		out.CacheAge = durationpb.New(a.CacheAge)
	}
	return out
}

var serviceClasses = map[accounting.ServiceClass]weirv1.ServiceClass{
	accounting.ServiceStandard: weirv1.ServiceClass_SERVICE_CLASS_STANDARD,
	accounting.ServiceFlex:     weirv1.ServiceClass_SERVICE_CLASS_FLEX,
	accounting.ServicePriority: weirv1.ServiceClass_SERVICE_CLASS_PRIORITY,
	accounting.ServiceScale:    weirv1.ServiceClass_SERVICE_CLASS_SCALE,
	accounting.ServiceBatch:    weirv1.ServiceClass_SERVICE_CLASS_BATCH,
	accounting.ServiceOther:    weirv1.ServiceClass_SERVICE_CLASS_OTHER,
}

// ServiceClass is a class of service as weir.v1 tells it.
func ServiceClass(c accounting.ServiceClass) weirv1.ServiceClass { return serviceClasses[c] }

// AskedClass is a class of service that a call of weir.v1 asks for.
func AskedClass(c weirv1.ServiceClass) accounting.ServiceClass {
	for class, named := range serviceClasses {
		if named == c {
			return class
		}
	}
	return ""
}

// Timing is how long a call took as weir.v1 tells it.
func Timing(a *gateway.Answer) *weirv1.Timing {
	out := &weirv1.Timing{Total: durationpb.New(a.End.Sub(a.Start))}
	if !a.FirstOutput.IsZero() {
		out.TimeToFirstOutput = durationpb.New(a.FirstOutput.Sub(a.Start))
	}
	return out
}
