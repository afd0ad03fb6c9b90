package main

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
)

// noteEvery is how soon an alert is raised, and a refusal counted, after it was
// due.
const noteEvery = time.Second

// newWatch makes the watch of budgets, whose alerts become log lines and a
// metric.
func newWatch(store ledger.NoteStore, r prometheus.Registerer, log *slog.Logger) *ledger.Watch {
	alerts := promauto.With(r).NewCounterVec(prometheus.CounterOpts{
		Name: "weir_budget_alerts_total", Help: "Alerts of budgets that this replica has raised, by the percentage of the limit.",
	}, []string{"percent"})
	return &ledger.Watch{Store: store, Tell: func(a accounting.Alert) {
		alerts.WithLabelValues(strconv.Itoa(a.Percent)).Inc()
		log.Warn(a.String(), "tenant", a.Tenant, "budget", a.Budget, "scope", a.Scope, "percent", a.Percent)
	}}
}

// watch notes what calls do to budgets, until the context ends, and then once
// more.
func (w *weir) watch(ctx context.Context) {
	ticker := time.NewTicker(noteEvery)
	defer ticker.Stop()
	away := false
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := w.ledger.Watch.Flush(last, time.Now()); err != nil {
				w.log.Error("the last counts and alerts of budgets are lost", "error", err)
			}
			return
		case <-ticker.C:
		}
		err := w.ledger.Watch.Flush(ctx, time.Now())
		if err != nil && ctx.Err() == nil && !away {
			w.log.Error("cannot note counts and alerts of budgets; trying again", "error", err)
		}
		away = err != nil
	}
}
