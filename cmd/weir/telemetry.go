package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

// TelemetryConfig is where traces and metrics go beside the admin port.
type TelemetryConfig struct {
	OTLP OTLPConfig `yaml:"otlp"`
}

// OTLPConfig is a collector of OpenTelemetry. What it leaves out is as the
// standard OTEL_… variables say.
type OTLPConfig struct {
	// Endpoint is the collector's URL, such as http://127.0.0.1:4318; without it,
	// and without OTEL_EXPORTER_OTLP_ENDPOINT, nothing is sent.
	Endpoint string `yaml:"endpoint"`
	// Protocol is grpc or http/protobuf; http/protobuf where nothing is said.
	Protocol string `yaml:"protocol"`
	// Headers are sent with every export, for example a token.
	Headers map[string]string `yaml:"headers"`
	// Sample is the share of calls that are traced, 0 to 1, of those whose caller
	// has not decided it; nil is all.
	Sample *float64 `yaml:"sample"`
}

// The protocols of OTLP.
const (
	overGRPC = "grpc"
	overHTTP = "http/protobuf"
)

func (c OTLPConfig) check() (field, problem string) {
	u, err := url.Parse(c.Endpoint)
	switch {
	case c.Endpoint != "" && (err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https"):
		return "endpoint", "no URL of a collector: write it as http://127.0.0.1:4318; a secret belongs in headers"
	case c.Protocol != "" && c.Protocol != overGRPC && c.Protocol != overHTTP:
		return "protocol", fmt.Sprintf("unknown protocol %q: known are %s and %s", c.Protocol, overGRPC, overHTTP)
	case c.Sample != nil && !(*c.Sample >= 0 && *c.Sample <= 1):
		return "sample", fmt.Sprintf("%v is no share: use a number from 0 to 1", *c.Sample)
	}
	return "", ""
}

// exported is a signal, traces or metrics, with its part in the names of variables and in
// the collector's paths.
type exported struct{ variable, path string }

var (
	traceSignal  = exported{"TRACES", "v1/traces"}
	metricSignal = exported{"METRICS", "v1/metrics"}
)

// wanted tells whether a signal is to be exported, and by which protocol.
func (c OTLPConfig) wanted(s exported, getenv func(string) (string, bool)) (protocol string, err error) {
	env := func(name string) string { v, _ := getenv(name); return v }
	first := func(values ...string) string {
		for _, v := range values {
			if v != "" {
				return v
			}
		}
		return ""
	}
	if env("OTEL_SDK_DISABLED") == "true" {
		return "", nil
	}
	if first(c.Endpoint, env("OTEL_EXPORTER_OTLP_"+s.variable+"_ENDPOINT"), env("OTEL_EXPORTER_OTLP_ENDPOINT")) == "" {
		return "", nil
	}
	exporter := "OTEL_" + s.variable + "_EXPORTER"
	switch v := env(exporter); v {
	case "", "otlp":
	case "none":
		return "", nil
	default:
		return "", fmt.Errorf("%s: unknown exporter %q: known are otlp and none", exporter, v)
	}
	protocol = first(c.Protocol, env("OTEL_EXPORTER_OTLP_"+s.variable+"_PROTOCOL"), env("OTEL_EXPORTER_OTLP_PROTOCOL"), overHTTP)
	if protocol != overGRPC && protocol != overHTTP {
		return "", fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: unknown protocol %q: known are %s and %s", protocol, overGRPC, overHTTP)
	}
	return protocol, nil
}

// at is where a signal goes over HTTP.
func (c OTLPConfig) at(s exported) string {
	u, err := url.JoinPath(c.Endpoint, s.path)
	if err != nil {
		return c.Endpoint // check has seen it
	}
	return u
}

func (c OTLPConfig) spanExporter(ctx context.Context, protocol string) (trace.SpanExporter, error) {
	if protocol == overGRPC {
		var options []otlptracegrpc.Option
		if c.Endpoint != "" {
			options = append(options, otlptracegrpc.WithEndpointURL(c.Endpoint))
		}
		if c.Headers != nil {
			options = append(options, otlptracegrpc.WithHeaders(c.Headers))
		}
		return otlptracegrpc.New(ctx, options...)
	}
	var options []otlptracehttp.Option
	if c.Endpoint != "" {
		options = append(options, otlptracehttp.WithEndpointURL(c.at(traceSignal)))
	}
	if c.Headers != nil {
		options = append(options, otlptracehttp.WithHeaders(c.Headers))
	}
	return otlptracehttp.New(ctx, options...)
}

func (c OTLPConfig) metricExporter(ctx context.Context, protocol string) (metric.Exporter, error) {
	if protocol == overGRPC {
		var options []otlpmetricgrpc.Option
		if c.Endpoint != "" {
			options = append(options, otlpmetricgrpc.WithEndpointURL(c.Endpoint))
		}
		if c.Headers != nil {
			options = append(options, otlpmetricgrpc.WithHeaders(c.Headers))
		}
		return otlpmetricgrpc.New(ctx, options...)
	}
	var options []otlpmetrichttp.Option
	if c.Endpoint != "" {
		options = append(options, otlpmetrichttp.WithEndpointURL(c.at(metricSignal)))
	}
	if c.Headers != nil {
		options = append(options, otlpmetrichttp.WithHeaders(c.Headers))
	}
	return otlpmetrichttp.New(ctx, options...)
}

// flushTime bounds how long the end waits for a collector.
const flushTime = 5 * time.Second

// openTelemetry starts what the configuration and the OTEL_… variables ask for.
// It connects to nobody yet: a collector that is away loses spans, not calls.
// The result is nil where nothing is asked for, and else is to be closed.
func openTelemetry(ctx context.Context, c OTLPConfig, getenv func(string) (string, bool), log *slog.Logger) (_ *telemetry, err error) {
	overTraces, err := c.wanted(traceSignal, getenv)
	if err != nil {
		return nil, err
	}
	overMetrics, err := c.wanted(metricSignal, getenv)
	if err != nil || overTraces == "" && overMetrics == "" {
		return nil, err
	}
	// The exporters report here what nobody waits for. It is the process's one
	// handler, as the log is.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("telemetry is not delivered", "error", err) }))
	about, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", "weir"), attribute.String("service.version", versionName()),
			attribute.String("service.instance.id", uuid.NewString())),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	tracing := []trace.TracerProviderOption{trace.WithResource(about)}
	if c.Sample != nil {
		tracing = append(tracing, trace.WithSampler(trace.ParentBased(trace.TraceIDRatioBased(*c.Sample))))
	}
	if overTraces != "" {
		exporter, err := c.spanExporter(ctx, overTraces)
		if err != nil {
			return nil, fmt.Errorf("export of traces: %w", err)
		}
		tracing = append(tracing, trace.WithBatcher(exporter))
	} else {
		tracing = append(tracing, trace.WithSampler(trace.NeverSample()))
	}
	metering := []metric.Option{metric.WithResource(about)}
	if overMetrics != "" {
		exporter, err := c.metricExporter(ctx, overMetrics)
		if err != nil {
			return nil, fmt.Errorf("export of metrics: %w", err)
		}
		metering = append(metering, metric.WithReader(metric.NewPeriodicReader(exporter)))
	}
	tracers, meters := trace.NewTracerProvider(tracing...), metric.NewMeterProvider(metering...)
	t, err := newTelemetry(tracers.Tracer(scope), meters.Meter(scope))
	if err != nil {
		return nil, err
	}
	t.close = func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTime)
		defer cancel()
		if err := errors.Join(tracers.Shutdown(ctx), meters.Shutdown(ctx)); err != nil {
			log.Warn("the last telemetry is not delivered", "error", err)
		}
	}
	return t, nil
}
