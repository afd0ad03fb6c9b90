package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
)

// gauge is a field of a load that a server tells on its page of metrics.
type gauge int

const (
	runs gauge = iota + 1
	waits
	fills
)

// gauges are the names of vLLM's and SGLang's. gpu_cache_usage_perc is what vLLM
// called kv_cache_usage_perc before.
var gauges = map[string]gauge{
	"vllm:num_requests_running": runs, "vllm:num_requests_waiting": waits,
	"vllm:kv_cache_usage_perc": fills, "vllm:gpu_cache_usage_perc": fills,
	"sglang:num_running_reqs": runs, "sglang:num_queue_reqs": waits, "sglang:token_usage": fills,
}

// maxPage is the most that is read of a page of metrics.
const maxPage = 8 << 20

// Gauges asks a page of metrics, as Prometheus does. The context bounds it. A
// page without one of the gauges is an error. It is safe for concurrent use.
func Gauges(ctx context.Context, client *http.Client, page string) (*backend.Load, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
	if err != nil {
		return nil, errors.New("the URL cannot be asked")
	}
	resp, err := client.Do(req)
	if err != nil {
		var outer *url.Error // repeats the URL
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers with status %d", resp.StatusCode)
	}
	return parseGauges(io.LimitReader(resp.Body, maxPage))
}

// parseGauges reads the text form of Prometheus's metrics. Requests of several
// models or engines are summed, and the fullest one's cache counts.
func parseGauges(page io.Reader) (*backend.Load, error) {
	var l backend.Load
	lines := bufio.NewScanner(page)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, rest, ok := sample(lines.Text())
		kind := gauges[name]
		if !ok || kind == 0 {
			continue
		}
		text, _, _ := strings.Cut(strings.TrimSpace(rest), " ") // a time may follow
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !(v >= 0) || math.IsInf(v, 0) {
			continue
		}
		switch kind {
		case runs:
			l.Running = plus(l.Running, v)
		case waits:
			l.Waiting = plus(l.Waiting, v)
		case fills:
			if l.Utilization == nil || v > *l.Utilization {
				l.Utilization = &v
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if l == (backend.Load{}) {
		return nil, errors.New("the page has none of the gauges of vLLM or SGLang")
	}
	return &l, nil
}

// sample splits a line into a name and what follows its labels.
func sample(line string) (name, rest string, ok bool) {
	if line == "" || line[0] == '#' {
		return "", "", false
	}
	end := strings.IndexAny(line, "{ ")
	if end < 0 {
		return "", "", false
	}
	name, rest = line[:end], line[end:]
	if rest[0] == '{' {
		// A label's value may hold a brace; no value of a sample does.
		rest = rest[strings.LastIndexByte(rest, '}')+1:]
	}
	return name, rest, rest != ""
}

func plus(sum *float64, v float64) *float64 {
	if sum != nil {
		v += *sum
	}
	return &v
}
