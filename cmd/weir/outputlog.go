package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/weir-gateway/weir/accounting/outputlog"
)

// newOutputMetrics counts what becomes of records of the output log.
func newOutputMetrics(r prometheus.Registerer) func(outputlog.Fate, int) {
	records := promauto.With(r).NewCounterVec(prometheus.CounterOpts{
		Name: "weir_output_records_total", Help: "Records of the output log, by fate: written; dropped_queue, since too many waited to be written; dropped_store, since the store was away when this Weir ended.",
	}, []string{"fate"})
	for _, fate := range []outputlog.Fate{outputlog.Written, outputlog.DroppedQueue, outputlog.DroppedStore} {
		records.WithLabelValues(string(fate))
	}
	return func(fate outputlog.Fate, n int) { records.WithLabelValues(string(fate)).Add(float64(n)) }
}
