//go:build prometheus

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// These tests need prometheus and promtool: make test-prometheus installs them.

// TestPrometheusScrapesWithoutAComplaint runs a real Prometheus at the admin
// port and asks it what it has learnt.
func TestPrometheusScrapesWithoutAComplaint(t *testing.T) {
	p := serve(t, t.TempDir())
	p.apply(acme)
	p.must(nil, p.createKey("acme", "k1"), "call", "-m", "sim-text", "--stream", "say: mail bob@example.com 你好")

	address, taken := freePort(t)
	taken.Close()
	config := file(t, "prometheus.yml", `
scrape_configs:
  - {job_name: weir, scrape_interval: 200ms, scrape_timeout: 200ms, static_configs: [{targets: ["`+p.admin+`"]}]}
`)
	var log lockedBuffer
	server := exec.Command("prometheus", "--config.file", config, "--storage.tsdb.path", t.TempDir(), "--web.listen-address", address)
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatalf("%v: run make test-prometheus, which installs it", err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})

	const query = `weir_calls_total{job="weir",model="sim-text",outcome="completed"}`
	var found struct {
		Data struct{ Result []struct{ Value []any } }
	}
	until(t, &log, "http://"+address+"/api/v1/query?query="+url.QueryEscape(query), &found, func() bool { return len(found.Data.Result) > 0 })
	if got := fmt.Sprint(found.Data.Result[0].Value[1]); got != "1" {
		t.Errorf("%s is %s", query, got)
	}
	var targets struct {
		Data struct {
			ActiveTargets []struct{ Health, LastError string }
		}
	}
	until(t, &log, "http://"+address+"/api/v1/targets", &targets, func() bool { return len(targets.Data.ActiveTargets) > 0 })
	if got := targets.Data.ActiveTargets[0]; got.Health != "up" || got.LastError != "" {
		t.Errorf("the target is %+v", got)
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "scrape") && (strings.Contains(line, "level=warn") || strings.Contains(line, "level=error")) {
			t.Error(line)
		}
	}
}

// until asks Prometheus until what it says will do.
func until(t *testing.T, log *lockedBuffer, address string, into any, enough func() bool) {
	t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	late := time.After(patience)
	for {
		if answer, err := http.Get(address); err == nil {
			err = json.NewDecoder(answer.Body).Decode(into)
			answer.Body.Close()
			if err == nil && enough() {
				return
			}
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("prometheus does not say it after %s:\n%s", patience, log)
		}
	}
}

// TestPromtoolFindsNothing lints the metrics of a Weir that has served.
func TestPromtoolFindsNothing(t *testing.T) {
	p := serve(t, t.TempDir())
	p.apply(acme)
	p.must(nil, p.createKey("acme", "k1"), "call", "-m", "sim-text", "Hello")
	answer, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	lint := exec.Command("promtool", "check", "metrics")
	lint.Stdin = bytes.NewReader(text)
	if said, err := lint.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("%v\n%s", err, said)
	}
}
