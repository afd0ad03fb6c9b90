package load

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/server/backend"
)

func text(l *backend.Load) string {
	if l == nil {
		return "nothing"
	}
	of := func(v *float64) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprint(*v)
	}
	return of(l.Running) + " " + of(l.Waiting) + " " + of(l.Utilization)
}

// orca was written by the Go package of the message, with every field set: 8
// requests run and 3 wait, the application is half full and its cache to 0.75.
const orca = "09000000000000d03f11000000000000e03f180722110a06746f6b656e731100000000000028402a130a086b765f636163686511000000000000e83f" +
	"310000000000001e4039000000000000f03f421f0a146e756d5f72657175657374735f72756e6e696e67110000000000002040" +
	"421f0a146e756d5f72657175657374735f77616974696e6711000000000000084042100a056f7468657211000000000000f03f49000000000000e03f"

func TestTrailer(t *testing.T) {
	whole, err := hex.DecodeString(orca)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{whole, "8 3 0.75"},
		{whole[:9], "- - 0.25"}, // the processors alone
		{nil, "nothing"},
		{whole[9:18], "nothing"}, // memory
		{whole[:12], "nothing"},  // cut off
		{[]byte("not a report"), "nothing"},
	} {
		if got := text(Parse(c.b)); got != c.want {
			t.Errorf("%x is %s, want %s", c.b, got, c.want)
		}
	}
}

func TestWhatIsAppendedIsParsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maybe := rapid.Ptr(rapid.Float64Range(0, 1e9), true)
		l := &backend.Load{Running: maybe.Draw(t, "running"), Waiting: maybe.Draw(t, "waiting"), Utilization: rapid.Ptr(rapid.Float64Range(0.001, 2), true).Draw(t, "utilization")}
		got := Parse(Append(nil, l))
		if got == nil {
			got = &backend.Load{}
		}
		if !reflect.DeepEqual(got, l) {
			t.Fatalf("%s came back as %s", text(l), text(got))
		}
	})
}

func TestHeader(t *testing.T) {
	for header, want := range map[string]string{
		"TEXT named_metrics.kv_cache_usage_perc=0.4, named_metrics.num_requests_waiting=2.0":           "- 2 0.4",
		`JSON {"named_metrics": {"kv_cache_usage_perc": 0.4, "num_requests_waiting": 2.0}}`:            "- 2 0.4",
		`JSON "named_metrics": {"kv_cache_utilization": 0.4, "max_token_capacity": 9}`:                 "- - 0.4",
		"text cpu_utilization=0.3,application_utilization=0.6,utilization.kv_cache=0.1":                "- - 0.6",
		"TEXT cpu_utilization=0.3, mem_utilization=0.9, named_metrics.num_requests_running=4, rps=1e9": "4 - 0.3",
		"TEXT named_metrics.num_requests_waiting=0":                                                    "- 0 -", // zero is not absent
		"TEXT named_metrics.num_requests_waiting=-1, named_metrics.kv_cache=NaN":                       "nothing",
		"TEXT named_metrics.num_requests_waiting=Inf":                                                  "nothing",
		"TEXT":                   "nothing",
		"":                       "nothing",
		"JSON {":                 "nothing",
		"BIN SGVsbG8=":           "nothing",
		"TEXT named_metrics.x=1": "nothing",
		"TEXT " + strings.Repeat("a", maxHeader) + ",cpu_utilization=0.3": "nothing",
	} {
		if got := text(ParseHeader(header)); got != want {
			t.Errorf("%.90s is %s, want %s", header, got, want)
		}
	}
}

const page = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a{}b"} 4.0
vllm:num_requests_running{engine="1",model_name="a} 9"} 3.0 1395066363000
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="a"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 77.0
vllm:kv_cache_usage_perc{engine="0",model_name="a"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="a"} 0.5
process_open_fds 12
vllm:num_requests_waiting{engine="1",model_name="a"} NaN
`

func TestGauges(t *testing.T) {
	answers := map[string]string{"/metrics": page, "/sglang": "sglang:num_running_reqs{x=\"y\"} 2\nsglang:num_queue_reqs 1\nsglang:token_usage 0.1", "/other": "up 1\n", "/empty": ""}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, known := answers[r.URL.Path]
		if !known {
			w.WriteHeader(http.StatusNotFound)
		}
		w.Write([]byte(answer))
	}))
	defer server.Close()
	for path, want := range map[string]string{
		"/metrics": "7 0 0.5 <nil>", "/sglang": "2 1 0.1 <nil>",
		"/other": "nothing the page has none of the gauges of vLLM or SGLang", "/empty": "nothing the page has none of the gauges of vLLM or SGLang",
		"/nowhere": "nothing it answers with status 404",
	} {
		l, err := Gauges(context.Background(), server.Client(), server.URL+path)
		if got := fmt.Sprint(text(l), " ", err); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	server.Close()
	if _, err := Gauges(context.Background(), server.Client(), server.URL+"/secret"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	whole, _ := hex.DecodeString(orca)
	f.Add(whole)
	f.Add([]byte(`JSON {"named_metrics": {"kv_cache_usage_perc": 0.4}}`))
	f.Add([]byte("TEXT named_metrics.num_requests_waiting=2"))
	f.Add([]byte(page))
	f.Fuzz(func(t *testing.T, b []byte) {
		gauges, _ := parseGauges(strings.NewReader(string(b)))
		for _, l := range []*backend.Load{Parse(b), ParseHeader(string(b)), gauges} {
			if l == nil {
				continue
			}
			for _, v := range []*float64{l.Running, l.Waiting, l.Utilization} {
				if v != nil && !(*v >= 0) {
					t.Errorf("%v", *v)
				}
			}
		}
	})
}
