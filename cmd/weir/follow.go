package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/intercept"
)

// scope is what spans and metrics say they were made by.
const scope = "github.com/weir-gateway/weir"

// telemetry follows calls for OpenTelemetry. Names are those of its conventions
// for generative AI (github.com/open-telemetry/semantic-conventions-genai,
// docs/gen-ai/client-inference.md as of commit 024a4f9 and client-embeddings.md
// as of 88eccb1, status Development) and
// for RPC and HTTP; what they have no name for begins with weir. It is a
// gateway.Follower.
//
// Content never gets here. Attributes of metrics are names of the configuration
// alone; spans also have ids and the caller's tenant.
type telemetry struct {
	tracer trace.Tracer
	close  func()

	duration, firstChunk metric.Float64Histogram
	embedDuration        metric.Float64Histogram
	tokens               map[string]metric.Int64Counter // by the names that counted gives
	charge, providerCost metric.Int64Counter
}

// seconds are the bounds that the conventions set for durations.
var seconds = metric.WithExplicitBucketBoundaries(.01, .02, .04, .08, .16, .32, .64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)

func newTelemetry(tracer trace.Tracer, meter metric.Meter) (*telemetry, error) {
	t := &telemetry{tracer: tracer, close: func() {}, tokens: map[string]metric.Int64Counter{}}
	for _, h := range []struct {
		to         *metric.Float64Histogram
		name, what string
	}{
		{&t.duration, "gen_ai.client.inference.duration", "Time from a request to a backend to the end of its answer."},
		{&t.embedDuration, "gen_ai.client.embeddings.duration", "Time from a request for embeddings to a backend to its answer."},
		{&t.firstChunk, "gen_ai.client.inference.time_to_first_chunk", "Time from a request to a backend to the first it said."},
	} {
		var err error
		if *h.to, err = meter.Float64Histogram(h.name, metric.WithUnit("s"), metric.WithDescription(h.what), seconds); err != nil {
			return nil, err
		}
	}
	for name, what := range map[string]string{
		"input_tokens":             "Input tokens, cached ones too.",
		"output_tokens":            "Output tokens, reasoning too.",
		"cache_read.input_tokens":  "Input tokens that were read from the provider's cache.",
		"cache_write.input_tokens": "Input tokens that were written to the provider's cache.",
		"reasoning.output_tokens":  "Output tokens that were reasoning.",
	} {
		counter, err := meter.Int64Counter("gen_ai.client.inference.usage."+name, metric.WithUnit("{token}"), metric.WithDescription(what))
		if err != nil {
			return nil, err
		}
		t.tokens[name] = counter
	}
	for _, c := range []struct {
		to         *metric.Int64Counter
		name, what string
	}{
		{&t.charge, "weir.cost.charge", "What callers pay, in billionths of the currency."},
		{&t.providerCost, "weir.cost.provider", "What providers charge, in billionths of the currency."},
	} {
		var err error
		if *c.to, err = meter.Int64Counter(c.name, metric.WithUnit("{nano}"), metric.WithDescription(c.what)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// traceContext is W3C's, both ways. Baggage is not carried: it is the caller's
// word, and would go to strangers.
var traceContext = propagation.TraceContext{}

// headers reads the carrier of a call's metadata or headers.
type headers func(string) string

func (h headers) Get(name string) string { return h(name) }
func (h headers) Set(string, string)     {}
func (h headers) Keys() []string         { return nil }

// call follows one call from its arrival to its end.
func (t *telemetry) call(ctx context.Context, header func(string) string) (context.Context, func(intercept.Ended)) {
	ctx, span := t.tracer.Start(traceContext.Extract(ctx, headers(header)), "call", trace.WithSpanKind(trace.SpanKindServer))
	trail := face.TrailOf(ctx)
	if id := span.SpanContext().TraceID(); id.IsValid() {
		trail.TraceID = id.String()
	}
	return ctx, func(e intercept.Ended) {
		defer span.End()
		if !span.IsRecording() {
			return
		}
		span.SetAttributes(attribute.String("weir.request_id", trail.RequestID), attribute.String("weir.tenant", trail.Caller.Tenant))
		if method, rpc := strings.CutPrefix(e.Method, "/"); rpc {
			span.SetName(method)
			span.SetAttributes(attribute.String("rpc.system.name", "grpc"), attribute.String("rpc.method", method), attribute.String("rpc.response.status_code", e.Code))
		} else {
			span.SetName(e.Method)
			if method, route, ok := strings.Cut(e.Method, " "); ok {
				span.SetAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route))
			}
			if status, err := strconv.Atoi(e.Code); err == nil {
				span.SetAttributes(attribute.Int("http.response.status_code", status))
			}
		}
		if e.Reason != "" {
			span.SetAttributes(errorType(strings.ToLower(e.Reason)))
		}
		if e.Fault {
			span.SetStatus(codes.Error, "")
		}
	}
}

func errorType(name string) attribute.KeyValue { return attribute.String("error.type", name) }

// fail says by its name alone why a span failed: an error's text may quote.
func fail(span trace.Span, name string) {
	span.SetAttributes(errorType(name))
	span.SetStatus(codes.Error, "")
}

// Input implements gateway.Follower.
func (t *telemetry) Input(ctx context.Context, _ *gateway.Call) (context.Context, func(error)) {
	return t.stage(ctx, "guard input")
}

// Settle implements gateway.Follower.
func (t *telemetry) Settle(ctx context.Context) (context.Context, func(error)) {
	return t.stage(ctx, "settle")
}

func (t *telemetry) stage(ctx context.Context, name string) (context.Context, func(error)) {
	ctx, span := t.tracer.Start(ctx, name)
	return ctx, func(err error) {
		if err != nil {
			fail(span, gateway.Label(err))
		}
		span.End()
	}
}

// Attempt implements gateway.Follower.
func (t *telemetry) Attempt(ctx context.Context, call *gateway.Call, try gateway.Try) (context.Context, func(gateway.Tried)) {
	start := time.Now()
	operation, duration := "chat", t.duration
	if call.Embedding != nil {
		operation, duration = "embeddings", t.embedDuration
	}
	who := []attribute.KeyValue{
		attribute.String("gen_ai.operation.name", operation),
		attribute.String("gen_ai.provider.name", try.Target.Kind),
		attribute.String("gen_ai.request.model", try.Target.Model),
	}
	ctx, span := t.tracer.Start(ctx, operation+" "+try.Target.Model, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(start), trace.WithAttributes(who...))
	if span.IsRecording() {
		span.SetAttributes(asked(call, try)...)
	}
	carried := propagation.MapCarrier{}
	traceContext.Inject(ctx, carried)
	try.Request.TraceContext = carried
	return ctx, func(tried gateway.Tried) {
		t.measure(ctx, who, duration, start, tried)
		if span.IsRecording() {
			span.SetAttributes(answered(start, tried)...)
			if name := failure(tried); name != "" {
				fail(span, name)
			}
		}
		span.End(trace.WithTimestamp(end(tried)))
	}
}

// end is when an attempt ended; now, where it panicked.
func end(tried gateway.Tried) time.Time {
	if tried.End.IsZero() {
		return time.Now()
	}
	return tried.End
}

// failure is the error.type of an attempt, empty where it did not fail.
func failure(tried gateway.Tried) string {
	if tried.Outcome == accounting.OutcomeHedgeLoser {
		return "" // it was cancelled
	}
	if tried.Err == nil && !tried.Outcome.Charged() {
		return "_OTHER" // it panicked: the conventions' word for what has no name
	}
	return gateway.Label(tried.Err)
}

// asked are the attributes of a request.
func asked(call *gateway.Call, try gateway.Try) []attribute.KeyValue {
	r := try.Request
	all := []attribute.KeyValue{
		attribute.String("weir.request_id", call.RequestID),
		attribute.String("weir.model", call.Model),
		attribute.String("weir.backend", try.Target.Name),
		attribute.Int("weir.attempt", try.Number),
	}
	if e := call.Embedding; e == nil {
		all = append(all, attribute.Bool("gen_ai.request.stream", true)) // always, so that it can be cut
	} else if e.Dimensions != nil {
		all = append(all, attribute.Int("gen_ai.embeddings.dimension.count", *e.Dimensions))
	}
	if r.Candidates > 1 {
		all = append(all, attribute.Int("gen_ai.request.choice.count", r.Candidates))
	}
	if r.MaxOutputTokens != nil {
		all = append(all, attribute.Int("gen_ai.request.max_tokens", *r.MaxOutputTokens))
	}
	if r.Temperature != nil {
		all = append(all, attribute.Float64("gen_ai.request.temperature", *r.Temperature))
	}
	if r.TopP != nil {
		all = append(all, attribute.Float64("gen_ai.request.top_p", *r.TopP))
	}
	if call.Purpose != "" {
		all = append(all, attribute.String("weir.purpose", call.Purpose), attribute.String("weir.parent_request_id", call.ParentRequestID))
	}
	return all
}

// answered are the attributes of what came of it.
func answered(start time.Time, tried gateway.Tried) []attribute.KeyValue {
	all := []attribute.KeyValue{attribute.String("weir.outcome", string(tried.Outcome))}
	if tried.BackendModel != "" {
		all = append(all, attribute.String("gen_ai.response.model", tried.BackendModel))
	}
	if !tried.FirstEvent.IsZero() {
		all = append(all, attribute.Float64("gen_ai.response.time_to_first_chunk", tried.FirstEvent.Sub(start).Seconds()))
	}
	var reasons []string
	for _, f := range tried.Finish {
		if f == "" {
			f = "error" // the conventions' word for a candidate that never ended
		}
		reasons = append(reasons, string(f))
	}
	if reasons != nil {
		all = append(all, attribute.StringSlice("gen_ai.response.finish_reasons", reasons))
	}
	for _, n := range counted(tried.Usage) {
		all = append(all, attribute.Int64("gen_ai.usage."+n.name, n.tokens))
	}
	if c := tried.Cost; c != nil {
		all = append(all,
			attribute.String("weir.cost.charge", c.Charge.Decimal()),
			attribute.String("weir.cost.provider", c.ProviderCost.Decimal()),
			attribute.String("weir.cost.currency", c.Charge.Currency),
			attribute.String("weir.price.version", c.PriceVersion))
	}
	return all
}

type quantity struct {
	name   string
	tokens int64
}

// counted is usage in the words of the conventions. What is not known is not
// there.
func counted(u accounting.Usage) (all []quantity) {
	add := func(name string, tokens int64, known bool) {
		if known {
			all = append(all, quantity{name, tokens})
		}
	}
	in, known := u.InputTokens()
	add("input_tokens", in, known)
	out, known := u.OutputTokens()
	add("output_tokens", out, known)
	read, known := u.Get(accounting.CacheRead)
	add("cache_read.input_tokens", read, known)
	short, known := u.Get(accounting.CacheWrite5m)
	long, too := u.Get(accounting.CacheWrite1h)
	add("cache_write.input_tokens", short+long, known || too)
	thought, known := u.Get(accounting.Reasoning)
	add("reasoning.output_tokens", thought, known)
	return all
}

// measure counts an attempt in the metrics.
func (t *telemetry) measure(ctx context.Context, who []attribute.KeyValue, duration metric.Float64Histogram, start time.Time, tried gateway.Tried) {
	with := func(more ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributes(append(who[:len(who):len(who)], more...)...)
	}
	timed := with()
	if name := failure(tried); name != "" {
		timed = with(errorType(name))
	}
	duration.Record(ctx, end(tried).Sub(start).Seconds(), timed)
	if !tried.FirstEvent.IsZero() {
		t.firstChunk.Record(ctx, tried.FirstEvent.Sub(start).Seconds(), with())
	}
	text := with(attribute.String("gen_ai.token.modality", "text")) // what the neutral form carries
	for _, n := range counted(tried.Usage) {
		t.tokens[n.name].Add(ctx, n.tokens, text)
	}
	if c := tried.Cost; c != nil {
		t.charge.Add(ctx, c.Charge.Nanos, with(attribute.String("weir.cost.currency", c.Charge.Currency)))
		t.providerCost.Add(ctx, c.ProviderCost.Nanos, with(attribute.String("weir.cost.currency", c.ProviderCost.Currency)))
	}
}
