// Package load reads how busy a server says it is: reports of ORCA (Open Request
// Cost Aggregation, message xds.data.orca.v3.OrcaLoadReport) in gRPC trailers
// and HTTP headers, and the gauges that vLLM and SGLang have for Prometheus. It
// asks nobody but the page of gauges that it is given, and knows no target.
//
// The message is read and written by its field numbers: its Go package would
// bring the protos of a whole service mesh with it.
package load

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weir-gateway/weir/server/backend"
)

// The names of a report on the wire: the gRPC trailer, the HTTP header, and the
// header by which an HTTP server, or a Weir, is asked for it.
const (
	Trailer = "endpoint-load-metrics-bin"
	Header  = "Endpoint-Load-Metrics"
	Ask     = "Endpoint-Load-Metrics-Format"
)

// Fields of OrcaLoadReport.
const (
	fieldCPU         = 1
	fieldUtilization = 5
	fieldNamed       = 8
	fieldApplication = 9
)

// What servers call their gauges. Those of vLLM's reports are from its pull
// request 24905, Triton's kv_cache_utilization from its pull request 7839.
const (
	running = "num_requests_running"
	waiting = "num_requests_waiting"
)

var utilizations = []string{"kv_cache_usage_perc", "kv_cache_utilization", "kv_cache", "gpu_cache_usage_perc"}

// report is what is read of an OrcaLoadReport.
type report struct {
	CPU         float64            `json:"cpu_utilization"`
	Application float64            `json:"application_utilization"`
	Utilization map[string]float64 `json:"utilization"`
	Named       map[string]float64 `json:"named_metrics"`
}

// load is a report in the neutral form; nil where it says nothing of use. As in
// gRPC's weighted round robin (gRFC A58), the utilization of the application
// counts where there is one, and that of the processors else; both are absent
// where they are 0. A fuller cache counts in their place.
func (r *report) load() *backend.Load {
	var l backend.Load
	add := func(to **float64, v float64) {
		if v >= 0 && !math.IsInf(v, 0) && (*to == nil || v > **to) {
			*to = &v
		}
	}
	if u := r.Application; u > 0 {
		add(&l.Utilization, u)
	} else if r.CPU > 0 {
		add(&l.Utilization, r.CPU)
	}
	for _, all := range []map[string]float64{r.Named, r.Utilization} {
		for _, name := range utilizations {
			if v, said := all[name]; said {
				add(&l.Utilization, v)
			}
		}
	}
	if v, said := r.Named[running]; said {
		add(&l.Running, v)
	}
	if v, said := r.Named[waiting]; said {
		add(&l.Waiting, v)
	}
	if l == (backend.Load{}) {
		return nil
	}
	return &l
}

// Parse reads an OrcaLoadReport; nil where it cannot be read or says nothing of
// use: a report is a hint, and a call does not fail for it.
func Parse(b []byte) *backend.Load {
	r := report{Utilization: map[string]float64{}, Named: map[string]float64{}}
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		b = b[n:]
		switch {
		case kind == protowire.Fixed64Type && (field == fieldCPU || field == fieldApplication):
			bits, n := protowire.ConsumeFixed64(b)
			if n < 0 {
				return nil
			}
			b = b[n:]
			if v := math.Float64frombits(bits); field == fieldCPU {
				r.CPU = v
			} else {
				r.Application = v
			}
		case kind == protowire.BytesType && (field == fieldUtilization || field == fieldNamed):
			entry, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return nil
			}
			b = b[n:]
			into := r.Named
			if field == fieldUtilization {
				into = r.Utilization
			}
			if name, v, ok := parseEntry(entry); ok {
				into[name] = v
			}
		default:
			if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
				return nil
			}
			b = b[n:]
		}
	}
	return r.load()
}

// parseEntry reads one entry of a map of names to doubles.
func parseEntry(b []byte) (name string, v float64, ok bool) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return "", 0, false
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return "", 0, false
		}
		switch {
		case field == 1 && kind == protowire.BytesType:
			text, _ := protowire.ConsumeBytes(b)
			name = string(text)
		case field == 2 && kind == protowire.Fixed64Type:
			v = math.Float64frombits(binary.LittleEndian.Uint64(b))
		}
		b = b[n:]
	}
	return name, v, true
}

// Append writes a load as an OrcaLoadReport.
func Append(b []byte, l *backend.Load) []byte {
	for _, m := range []struct {
		name string
		v    *float64
	}{{running, l.Running}, {waiting, l.Waiting}} {
		if m.v == nil {
			continue
		}
		entry := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), m.name)
		entry = protowire.AppendFixed64(protowire.AppendTag(entry, 2, protowire.Fixed64Type), math.Float64bits(*m.v))
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldNamed, protowire.BytesType), entry)
	}
	if l.Utilization != nil {
		b = protowire.AppendFixed64(protowire.AppendTag(b, fieldApplication, protowire.Fixed64Type), math.Float64bits(*l.Utilization))
	}
	return b
}

// maxHeader is the most that is read of a header.
const maxHeader = 16 << 10

// ParseHeader reads a report as HTTP servers write it: "TEXT" and pairs such as
// named_metrics.kv_cache_usage_perc=0.4 with commas between them, or "JSON" and
// an object, also without its braces. It is nil where Parse would be.
func ParseHeader(text string) *backend.Load {
	form, body, _ := strings.Cut(strings.TrimSpace(text), " ")
	if len(body) > maxHeader {
		return nil
	}
	var r report
	switch body = strings.TrimSpace(body); strings.ToUpper(form) {
	case "JSON":
		if !strings.HasPrefix(body, "{") {
			body = "{" + body + "}"
		}
		if json.Unmarshal([]byte(body), &r) != nil {
			return nil
		}
	case "TEXT":
		r.Utilization, r.Named = map[string]float64{}, map[string]float64{}
		for pair := range strings.SplitSeq(body, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				continue
			}
			switch kind, rest, nested := strings.Cut(name, "."); {
			case !nested && name == "cpu_utilization":
				r.CPU = v
			case !nested && name == "application_utilization":
				r.Application = v
			case kind == "named_metrics":
				r.Named[rest] = v
			case kind == "utilization":
				r.Utilization[rest] = v
			}
		}
	}
	return r.load()
}
