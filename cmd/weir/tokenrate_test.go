package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/weir-gateway/weir/server/store/storetest"
)

// What one replica's answers used is owed by all.
func TestReplicasShareATokenRate(t *testing.T) {
	url := storetest.Postgres(t)
	first := serve(t, t.TempDir(), "--store", url)
	first.apply(acme)
	first.apply("kind: Policy\nname: few\ntenant: acme\nrates: [{per: tenant, tokens: 1/day, token_burst: 60}]\n")
	key := first.createKey("acme", "k1")
	list := []*process{first, serve(t, t.TempDir(), "--store", url)}
	admitted := 0
	call := func(p *process) {
		t.Helper()
		switch code, _, failed := p.run(key, "", "call", "-m", "sim-text", "say: "+strings.Repeat("word ", 20)); {
		case code == 0:
			admitted++
		case code != exitExhausted || !strings.Contains(failed, "to a token rate of 1/day"):
			t.Errorf("%d %s", code, failed)
		}
	}
	for i := range 8 {
		call(list[i%2])
	}
	// Each uses 51. After the first, each replica may begin one with what it holds
	// of the other 9.
	if admitted < 2 || admitted > 3 {
		t.Errorf("two replicas admit %d calls of 51 tokens where 60 may be used at once", admitted)
	}
	for _, p := range list {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Errorf("%v\n%s", err, p.log)
		}
	}
	before := admitted
	call(serve(t, t.TempDir(), "--store", url))
	if admitted != before {
		t.Error("a new replica does not know what is owed")
	}
}
