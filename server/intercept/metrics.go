package intercept

import (
	"time"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

// durations are bounds in seconds: a refusal takes a millisecond, a long answer
// minutes.
var durations = []float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// Metrics counts the calls of all faces.
type Metrics struct {
	grpc *grpcprom.ServerMetrics
	http *prometheus.HistogramVec // by route and code
}

// NewMetrics makes the metrics and registers them. It fails where the registry
// has some of them already.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		grpc: grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram(grpcprom.WithHistogramBuckets(durations))),
		http: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_http_request_duration_seconds", Help: "Time from an HTTP request to the end of its answer, by route and status.",
			Buckets: durations,
		}, []string{"route", "code"}),
	}
	for _, c := range []prometheus.Collector{m.grpc, m.http} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Methods makes every method of a server known at zero, once all services are
// registered: a rate of what has not happened yet is 0, not absent.
func (m *Metrics) Methods(server *grpc.Server) { m.grpc.InitializeMetrics(server) }

func (m *Metrics) observeHTTP(route, code string, took time.Duration) {
	m.http.WithLabelValues(route, code).Observe(took.Seconds())
}
