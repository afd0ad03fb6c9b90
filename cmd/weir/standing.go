package main

import (
	"context"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/weir-gateway/weir/accounting/spool"
)

// standEvery is how often the store is asked what is wrong in it: a few reads,
// by each replica.
const standEvery = 30 * time.Second

// standing is what operators are woken for: counts of what must not be there.
type standing struct {
	overrun, letters, silent prometheus.Gauge
	// known is the number of windows that were overrun when it was last asked.
	known int
}

// mostOverruns bounds what one look reads.
const mostOverruns = 1000

// newStanding makes the metrics of a Weir as it stands: of the process, of its
// spool, and of what it finds in the store.
func (w *weir) newStanding(r prometheus.Registerer) *standing {
	f := promauto.With(r)
	f.NewGauge(prometheus.GaugeOpts{
		Name: "weir_build_info", Help: "1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": versionName(), "goversion": runtime.Version()},
	}).Set(1)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weir_ready", Help: "1 while calls are welcome here, as /readyz says.",
	}, func() float64 {
		if w.unready(time.Now()) != nil {
			return 0
		}
		return 1
	})
	r.MustRegister(spoolMetrics{w.ledger.Spool})
	return &standing{
		overrun: f.NewGauge(prometheus.GaugeOpts{
			Name: "weir_overrun_windows", Help: "Windows of budgets that count now and of which more was spent than their limit and no lease covered it. Any is a fault; the same on all replicas.",
		}),
		letters: f.NewGauge(prometheus.GaugeOpts{
			Name: "weir_dead_letters", Help: "Entries of the spool that the ledger could not keep. Any is a fault; the same on all replicas.",
		}),
		silent: f.NewGauge(prometheus.GaugeOpts{
			Name: "weir_silent_replicas", Help: "Replicas that have not renewed their leases and have room of budgets set aside; the same on all replicas.",
		}),
	}
}

// look asks the store, and logs windows that were overrun since it last did.
func (s *standing) look(ctx context.Context, w *weir, now time.Time) error {
	overrun, err := w.store.Overruns(ctx, now, mostOverruns)
	if err != nil {
		return err
	}
	letters, err := w.store.DeadLetters(ctx)
	if err != nil {
		return err
	}
	silent, err := w.store.Silences(ctx, mostOverruns)
	if err != nil {
		return err
	}
	if len(overrun) > s.known {
		w.log.ErrorContext(ctx, "budgets were overrun; see weir doctor", "windows", len(overrun))
	}
	s.known = len(overrun)
	s.overrun.Set(float64(len(overrun)))
	s.letters.Set(float64(letters))
	s.silent.Set(float64(len(silent)))
	return nil
}

// keepLooking looks until the context ends. A store that is away is told of
// elsewhere; the metrics stay as they were.
func (s *standing) keepLooking(ctx context.Context, w *weir) {
	ticker := time.NewTicker(standEvery)
	defer ticker.Stop()
	for {
		if err := s.look(ctx, w, time.Now()); err != nil && ctx.Err() == nil {
			w.log.DebugContext(ctx, "cannot see how the store stands", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// spoolMetrics collects one reading of the spool a scrape.
type spoolMetrics struct{ spool *spool.Spool }

var spoolReadings = []struct {
	about *prometheus.Desc
	kind  prometheus.ValueType
	read  func(spool.Stats) float64
}{
	{aboutSpool("weir_spool_bytes", "What the spool takes on disk."), prometheus.GaugeValue, func(s spool.Stats) float64 { return float64(s.Bytes) }},
	{aboutSpool("weir_spool_limit_bytes", "What the spool may take; a full one admits no calls."), prometheus.GaugeValue, func(s spool.Stats) float64 { return float64(s.MaxBytes) }},
	{aboutSpool("weir_spool_open_calls", "Attempts that are held and not settled."), prometheus.GaugeValue, func(s spool.Stats) float64 { return float64(s.Live) }},
	{aboutSpool("weir_spool_unflushed_entries", "Settled entries that the store does not have yet."), prometheus.GaugeValue, func(s spool.Stats) float64 { return float64(s.Unflushed) }},
	{aboutSpool("weir_spool_oldest_unflushed_seconds", "Age of the oldest of them."), prometheus.GaugeValue, func(s spool.Stats) float64 { return s.OldestUnflushed.Seconds() }},
	{aboutSpool("weir_spool_records_total", "Records written."), prometheus.CounterValue, func(s spool.Stats) float64 { return float64(s.Records) }},
	{aboutSpool("weir_spool_syncs_total", "Times that the disk was asked to keep what was written."), prometheus.CounterValue, func(s spool.Stats) float64 { return float64(s.Syncs) }},
	{aboutSpool("weir_spool_refused_total", "Attempts that found no room in the spool."), prometheus.CounterValue, func(s spool.Stats) float64 { return float64(s.Refused) }},
}

func aboutSpool(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, nil, nil)
}

// Describe implements prometheus.Collector.
func (m spoolMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, r := range spoolReadings {
		to <- r.about
	}
}

// Collect implements prometheus.Collector.
func (m spoolMetrics) Collect(to chan<- prometheus.Metric) {
	stats := m.spool.Stats()
	for _, r := range spoolReadings {
		to <- prometheus.MustNewConstMetric(r.about, r.kind, r.read(stats))
	}
}
