package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// plain is a tenant without a rule, a budget or a price: what is left is the
// key, the ledger, the log line and the metrics.
const plain = "kind: Tenant\nname: acme\n"

// controlled is everything that a careful platform switches on: prices, three
// budgets, rates, and guards on both ways, with a lexicon of 10,000 terms.
func controlled() string {
	var b strings.Builder
	b.WriteString(plain)
	for _, model := range []string{whole, pieces, silent} {
		fmt.Fprintf(&b, "---\nkind: Price\nmodel: %s\ncurrency: USD\neffective: 2026-01-02\nper_million: {input: 0.50, output: 1.50}\n", model)
	}
	for _, per := range []string{"tenant", "project", "key"} {
		fmt.Fprintf(&b, "---\nkind: Budget\nname: by-%s\ntenant: acme\nper: %s\nlimit: 1000000 USD\nwindow: month\n", per, per)
	}
	b.WriteString("---\nkind: Lexicon\nname: prohibited\nterms:\n")
	for n := range 10_000 {
		fmt.Fprintf(&b, "  - zorb%06dlatt\n", n*7919%1_000_003)
	}
	b.WriteString(`---
kind: Policy
name: all
tenant: acme
rates:
  - {per: key, requests: 100000000/min, concurrent: 100000}
safety:
  input:
    - {id: words, guard: lexicon, list: prohibited, action: block}
    - {id: injection, guard: injection, at: 0.8, action: block}
    - {id: secrets, guard: secrets, action: redact}
    - {id: pii, guard: pii, action: redact}
  output:
    - {id: words-out, guard: lexicon, list: prohibited, action: block}
    - {id: secrets-out, guard: secrets, action: redact}
    - {id: pii-out, guard: pii, action: redact}
`)
	return b.String()
}

// startWeir starts a Weir in front of the backend, with documents and a key.
func startWeir(ctx context.Context, weir, folder string, backend *subject, documents string) (*subject, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	config := fmt.Sprintf("listen: {grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\ndata: %q\nbackends: [{name: backend, kind: openai, url: \"http://%s/v1\"}]\nmodels:\n", folder, backend.http)
	for _, model := range []string{whole, pieces, silent} {
		config += fmt.Sprintf("  - {name: %s, targets: [{backend: backend}]}\n", model)
	}
	file := filepath.Join(folder, "weir.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	g, err := start(ctx, firstCore, "", []string{weir, "serve", "--config", file})
	if err != nil {
		return nil, err
	}
	command := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, weir, append(args, "--addr", g.grpc, "--key-file", filepath.Join(folder, "admin.key"))...)
		cmd.Stdin = strings.NewReader(documents)
		cmd.Stderr = os.Stderr
		return cmd.Output()
	}
	if _, err := command("apply", "-f", "-"); err != nil {
		g.stop()
		return nil, fmt.Errorf("weir apply: %w", err)
	}
	out, err := command("key", "create", "--tenant", "acme", "--name", "bench", "-o", "json")
	if err != nil {
		g.stop()
		return nil, fmt.Errorf("weir key create: %w", err)
	}
	var made struct{ Key string }
	if err := json.Unmarshal(out, &made); err != nil {
		g.stop()
		return nil, err
	}
	g.key = made.Key
	return g, nil
}
