package main

import (
	"errors"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server"
	"github.com/weir-gateway/weir/server/gateway"
)

// callMetrics is what calls leave in the metrics, beside what every RPC does.
// Labels hold names of the configuration only: nothing that a caller writes,
// and no tenants, whose number has no bound.
type callMetrics struct {
	calls       *prometheus.CounterVec
	tokens      *prometheus.CounterVec
	ownTokens   *prometheus.CounterVec
	verdicts    *prometheus.CounterVec
	firstOutput *prometheus.HistogramVec
	unjudged    *prometheus.CounterVec
	excesses    *prometheus.CounterVec
	hedges      *prometheus.CounterVec
	lookups     *prometheus.CounterVec
}

func newCallMetrics(r prometheus.Registerer) *callMetrics {
	f := promauto.With(r)
	return &callMetrics{
		calls: f.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_calls_total", Help: "Calls that have ended, by model, backend and outcome; a refused call's outcome is its error reason.",
		}, []string{"model", "backend", "outcome"}),
		tokens: f.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_tokens_total", Help: "Tokens of settled calls, by model, backend, direction and who counted them.",
		}, []string{"model", "backend", "direction", "source"}),
		ownTokens: f.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_own_tokens_total", Help: "Tokens that Weir counted itself of the calls that the backend counted (source provider), by model, backend and direction.",
		}, []string{"model", "backend", "direction"}),
		verdicts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_verdicts_total", Help: "Findings of guards, by guard, stage and action.",
		}, []string{"guard", "stage", "action"}),
		unjudged: f.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_unjudged_bytes_total", Help: "Bytes of text that passed a remote rule that nobody had judged, under its grant (on_error: open).",
		}, []string{"model"}),
		excesses: f.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_budget_excesses_total", Help: "Claims that a budget granted without room for them, by mode: shadow would have been refused if the budget were enforced, grace is within the budget's grace, unheld passed a budget in shadow while the database did not answer.",
		}, []string{"mode"}),
		hedges: f.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_hedges_total", Help: "Hedges that were due, by model and what became of them: won, lost, served (as a retry of the first attempt, which failed), failed, or refused (not made).",
		}, []string{"model", "result"}),
		lookups: f.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cache_lookups_total", Help: "Calls that the cache of answers was asked for, by model and result: hit or miss.",
		}, []string{"model", "result"}),
		firstOutput: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_time_to_first_output_seconds", Help: "Time from a call's arrival to the first text that was released.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"model", "backend"}),
	}
}

func (m *callMetrics) observe(call *gateway.Call, answer *gateway.Answer, err error) {
	model, outcome := call.Model, string(answer.Outcome)
	if answer.Replayed {
		outcome = "replayed"
	}
	var e *gateway.Error
	if errors.As(err, &e) {
		outcome = strings.ToLower(string(e.Reason))
		if e.Reason == gateway.ModelNotFound {
			model = ""
		}
	}
	backend := answer.Target.Backend
	m.calls.WithLabelValues(model, backend, outcome).Inc()
	for _, v := range answer.Verdicts {
		m.verdicts.WithLabelValues(v.Guard, v.Stage.String(), v.Action.String()).Inc()
	}
	for _, e := range answer.Excesses {
		mode := "grace"
		switch {
		case e.Unheld:
			mode = "unheld"
		case e.Shadow:
			mode = "shadow"
		}
		m.excesses.WithLabelValues(mode).Inc()
	}
	if answer.UnjudgedBytes > 0 {
		m.unjudged.WithLabelValues(model).Add(float64(answer.UnjudgedBytes))
	}
	if answer.Replayed {
		return // its tokens were counted when they were used
	}
	if answer.Cache != "" {
		m.lookups.WithLabelValues(model, string(answer.Cache)).Inc()
	}
	if answer.Cache == gateway.CacheHit {
		return // and so were those of an answer that is given again
	}
	for _, h := range answer.Hedges {
		m.hedges.WithLabelValues(model, string(h)).Inc()
	}
	m.count(model, backend, "input", answer, accounting.Usage.InputTokens)
	m.count(model, backend, "output", answer, accounting.Usage.OutputTokens)
	if !answer.FirstOutput.IsZero() {
		m.firstOutput.WithLabelValues(model, backend).Observe(answer.FirstOutput.Sub(answer.Start).Seconds())
	}
}

// certificateExpiry warns of the day on which nobody can call any more.
func certificateExpiry(c *server.Certificates) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weir_tls_certificate_expiry_timestamp_seconds", Help: "When the certificate of the gRPC and HTTP ports expires, in Unix time.",
	}, func() float64 { return float64(c.NotAfter().Unix()) })
}

// count adds the tokens of one direction, and beside a backend's count our own.
func (m *callMetrics) count(model, backend, direction string, answer *gateway.Answer, tokens func(accounting.Usage) (int64, bool)) {
	n, known := tokens(answer.Usage)
	if !known {
		return
	}
	m.tokens.WithLabelValues(model, backend, direction, string(answer.Source)).Add(float64(n))
	if own, known := tokens(answer.OwnUsage); known && answer.Source == accounting.SourceProvider {
		m.ownTokens.WithLabelValues(model, backend, direction).Add(float64(own))
	}
}
