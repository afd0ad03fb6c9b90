package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/load"
)

// LoadConfig is how a backend tells how busy it is. A Weir tells unasked, where
// its grpc.load_reports is on.
type LoadConfig struct {
	// ORCA asks for a report with each answer, as vLLM and Triton can (kind
	// openai).
	ORCA bool `yaml:"orca"`
	// Metrics is the page that vLLM and SGLang have for Prometheus, which is asked
	// every so often; 2s where nothing is said.
	Metrics string   `yaml:"metrics"`
	Every   Duration `yaml:"every"`
}

const (
	loadEvery = 2 * time.Second
	leastLoad = 100 * time.Millisecond
	mostLoad  = 5 * time.Second // reports of twice the age do not count any more
)

// check tells what is wrong, by field.
func (c LoadConfig) check(kind string) (field, problem string) {
	u, err := url.Parse(c.Metrics)
	switch {
	case c.ORCA && kind != "openai":
		return "orca", fmt.Sprintf("a backend of kind %s is not asked for it: leave it out", kind)
	case c.Metrics == "" && c.Every != 0:
		return "every", "there is no page to ask: name it in metrics, or leave it out"
	case c.Metrics == "":
		return "", ""
	case err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https":
		return "metrics", "no URL of a page of metrics: write it as http://127.0.0.1:8000/metrics"
	case c.Every != 0 && (time.Duration(c.Every) < leastLoad || time.Duration(c.Every) > mostLoad):
		return "every", fmt.Sprintf("%s: use %s to %s", time.Duration(c.Every), leastLoad, mostLoad)
	}
	return "", ""
}

// loads asks backends how busy they are, beside the calls.
type loads struct {
	hear   func(name string, now time.Time, l *backend.Load)
	log    *slog.Logger
	client *http.Client
	stop   func() // ends those that ask; nil before the first
}

func newLoads(hear func(string, time.Time, *backend.Load), log *slog.Logger) *loads {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	return &loads{hear: hear, log: log, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// use asks these backends from now on, and no others. It is called by one
// goroutine at a time.
func (l *loads) use(backends []BackendConfig) {
	l.close()
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	for _, b := range backends {
		if b.Load.Metrics != "" {
			asking.Go(func() { l.follow(ctx, b) })
		}
	}
	l.stop = func() { cancel(); asking.Wait() }
}

func (l *loads) close() {
	if l.stop != nil {
		l.stop()
	}
	l.client.CloseIdleConnections()
}

// follow asks one backend until the context ends. A failure is told once, until
// there is an answer again; calls do not fail for it.
func (l *loads) follow(ctx context.Context, b BackendConfig) {
	every := time.Duration(b.Load.Every)
	if every == 0 {
		every = loadEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for failed := false; ; {
		asking, cancel := context.WithTimeout(ctx, every)
		report, err := load.Gauges(asking, l.client, b.Load.Metrics)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			l.hear(b.Name, time.Now(), report)
		case !failed:
			l.log.Warn("a backend does not tell how busy it is; calls go by what is in flight from here", "backend", b.Name, "error", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
