package main

import (
	"strings"
	"testing"
)

// What is wrong is said before or instead of what gRPC would say of it, with
// the way out.
func TestWhatCannotBeSentIsToldPlainly(t *testing.T) {
	p := serve(t, t.TempDir())
	admin, demo := p.key(adminKeyFile), p.key(demoKeyFile)
	for name, c := range map[string]struct {
		key, in string
		args    []string
		want    string
	}{
		"no UTF-8 to say":     {demo, "say: a\xff", []string{"call", "-m", "sim-text"}, "is not UTF-8"},
		"no UTF-8 to apply":   {admin, "kind: Tenant\nname: a\xff", []string{"apply", "-f", "-"}, "standard input is not UTF-8"},
		"no documents":        {admin, "# nothing\n---\n", []string{"apply", "-f", "-"}, "there is no document in standard input"},
		"too much":            {demo, strings.Repeat("x", 33<<20), []string{"call", "-m", "sim-text"}, "more than 32 MiB"},
		"two lines of a key":  {demo + "\n" + demo, "", []string{"call", "-m", "sim-text", "hi"}, "the API key holds what no key has"},
		"an empty key file":   {"", "", []string{"call", "-m", "sim-text", "--key-file", file(t, "k.key", "\n"), "hi"}, "k.key is empty"},
		"the platform's keys": {admin, "", []string{"key", "list"}, "--tenant NAME"},
		"two beginnings":      {demo, "", []string{"ledger", "list", "--since", "1h", "--from", "2026-01-01"}, "keep one"},
		"no length":           {demo, "", []string{"report", "--since", "soon"}, `--since: "soon"`},
		"a flag of none":      {demo, "", []string{"ledger", "list", "--nope"}, "see weir ledger list --help"},
		"a wrong value":       {demo, "", []string{"call", "-m", "sim-text", "--seed", "x", "hi"}, "see weir call --help"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, failed := p.run(c.key, c.in, c.args...)
			if code != exitUsage || !strings.Contains(failed, c.want) || out != "" {
				t.Errorf("%d %q %q, want %q", code, out, failed, c.want)
			}
			if strings.Count(strings.TrimSpace(failed), "\n") > 0 {
				t.Errorf("it is told in several lines: %q", failed)
			}
		})
	}
	if out := p.must(nil, demo, "report", "--since", "7d"); !strings.Contains(out, "no calls") {
		t.Errorf("a report of seven days is %q", out)
	}
}

func TestAnAnswerThatBreaksOffEndsItsLine(t *testing.T) {
	p := serve(t, t.TempDir())
	code, out, failed := p.run(p.key(demoKeyFile), "", "call", "-m", "sim-cut", "--stream", "hi")
	if code != exitFailure || !strings.HasSuffix(out, "\n") || !strings.Contains(failed, "broke off") {
		t.Errorf("%d %q %q", code, out, failed)
	}
}
