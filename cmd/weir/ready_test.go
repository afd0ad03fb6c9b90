package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/spool"
	"github.com/weir-gateway/weir/server"
)

// A replica is ready without the database for as long as what it has leased
// lasts, and again when the database has answered.
func TestReadyWhileLeasesLast(t *testing.T) {
	log, _, err := spool.Open(spool.Config{Dir: t.TempDir(), Replica: "r", Incarnation: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	w := &weir{server: &server.Server{}, ledger: &ledger.Ledger{Spool: log}}
	ask := func(since time.Duration, status int, want string) {
		t.Helper()
		w.reached.Store(time.Now().Add(-since).UnixNano())
		answer := httptest.NewRecorder()
		w.readyz(answer, nil)
		if answer.Code != status || strings.TrimSpace(answer.Body.String()) != want {
			t.Errorf("%s after the store has answered: %d %s", since, answer.Code, answer.Body)
		}
	}
	ask(0, http.StatusOK, "ready")
	ask(20*time.Second, http.StatusOK, "ready")
	ask(28*time.Second, http.StatusServiceUnavailable, "the store cannot be reached")
	ask(0, http.StatusOK, "ready")
}
