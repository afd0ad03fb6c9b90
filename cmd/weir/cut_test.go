package main

import (
	"strings"
	"testing"
)

func TestAnAnswerEndsWhereItsBudgetDoes(t *testing.T) {
	p := serve(t, t.TempDir())
	p.apply("{kind: Budget, name: small, tenant: demo, limit: 200 tokens, window: total, cut: true}")
	key := p.key(demoKeyFile)
	code, out, failed := p.run(key, "", "call", "-m", "sim-text", "--stream", "--max-tokens", "2000", "tokens: 1500")
	if code != exitExhausted || len(out) < 100 || !strings.Contains(failed, "a budget has no room for more") {
		t.Errorf("%d %q %q", code, out, failed)
	}
	if report := p.must(nil, p.key(adminKeyFile), "report", "--tenant", "demo", "--by", "outcome", "-o", "csv"); !strings.Contains(report, "cut,1,") {
		t.Errorf("report is %q", report)
	}
}
