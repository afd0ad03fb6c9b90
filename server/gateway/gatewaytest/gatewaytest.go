// Package gatewaytest builds a whole gateway on real parts, SQLite in a folder
// of the test and the simulator as its backend, for the tests of the gateway
// and of the faces that stand on it. It asserts nothing.
package gatewaytest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/accounting/spool"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/admit"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/route"
	"github.com/weir-gateway/weir/server/store"
	"github.com/weir-gateway/weir/server/store/sqlite"
)

// MaxOutputTokens is what a call gets that asks for no limit.
const MaxOutputTokens = 100

// House is a gateway with all that stands behind it.
type House struct {
	*gateway.Gateway
	Store *store.Store
	Live  *admin.Live
	Admin *admin.Admin
	Sim   *simulator.Backend
	// Ended has how each call ended at the backend.
	Ended chan simulator.Ending
	// Behave, where a test has set it before the first call, says how a target
	// behaves in a call, by its name for the model.
	Behave func(model string, p simulator.Profile) simulator.Profile
	// Lines is the log; Logger writes it.
	Lines  *Logbook
	Logger *slog.Logger
	// Clock is the time; a test may set it before the first call.
	Clock func() time.Time

	t           testing.TB
	spool       string
	incarnation int64
	stop        func()
}

// New makes a house in which documents are applied. Models are told by how
// their targets behave, in order, each for where the one before fails; the
// targets are called b0, b1 and so on.
func New(t testing.TB, documents string, models map[string][]simulator.Profile) *House {
	t.Helper()
	h := &House{t: t, Ended: make(chan simulator.Ending, 1000), Lines: &Logbook{}, Clock: time.Now}
	h.Logger = slog.New(slog.NewTextHandler(h.Lines, nil))
	now := func() time.Time { return h.Clock() }
	ctx := context.Background()
	var err error
	if h.Store, err = sqlite.Open(ctx, t.TempDir()+"/weir.db"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Store.Shutdown() }) // its folder goes with the test
	h.Live = &admin.Live{Store: h.Store, Keys: h.Store, Factories: guard.All(), Log: h.Logger}
	if err := h.Live.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	h.Admin = &admin.Admin{Store: h.Store, Live: h.Live}
	h.Apply(documents)

	profiles := map[string]simulator.Profile{}
	var routes []route.Model
	for name, targets := range models {
		model := route.Model{Name: name, MaxOutputTokens: MaxOutputTokens}
		for i := range targets {
			known := name
			if i > 0 {
				known = fmt.Sprintf("%s-%d", name, i)
			}
			profiles[known] = targets[i]
			model.Targets = append(model.Targets, route.Target{Name: fmt.Sprintf("b%d", i), Kind: "simulator", Model: known, Priority: i})
		}
		routes = append(routes, model)
	}
	h.Sim, err = simulator.New(simulator.Config{
		Models: profiles, Ended: func(_ string, how simulator.Ending) { h.Ended <- how },
		Behave: func(model string, p simulator.Profile) simulator.Profile {
			if h.Behave != nil {
				p = h.Behave(model, p)
			}
			return p
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range routes {
		for i := range m.Targets {
			m.Targets[i].Backend = h.Sim
		}
	}
	router, err := route.New(routes)
	if err != nil {
		t.Fatal(err)
	}
	h.Gateway = &gateway.Gateway{
		Policies:    func() *policy.Set { return h.Live.Snapshot().Policies },
		Router:      func() *route.Router { return router },
		Limiter:     admit.New(now),
		MaxDuration: time.Minute,
		Observe:     func(*gateway.Call, *gateway.Answer, error) {},
		Log:         h.Logger, Now: now,
	}
	h.spool = t.TempDir()
	h.openLedger()
	t.Cleanup(func() { h.stop() })
	return h
}

// openLedger gives the house a ledger on its spool, as the next process that
// runs there. What the one before left is in the store when it returns.
func (h *House) openLedger() {
	h.t.Helper()
	h.incarnation++
	log, _, err := spool.Open(spool.Config{Dir: h.spool, Replica: "house", Incarnation: uint64(h.incarnation), SegmentBytes: 256 << 10, MaxBytes: 4 << 20})
	if err != nil {
		h.t.Fatal(err)
	}
	config := lease.Defaults()
	config.Store, config.Replica, config.Incarnation = h.Store, "house", h.incarnation
	leases, err := lease.NewHolder(config)
	if err != nil {
		h.t.Fatal(err)
	}
	l := &ledger.Ledger{
		Store: h.Store, Leases: leases, Spool: log, Durability: spool.Relaxed,
		Prices:   func() *price.Catalogue { return h.Live.Snapshot().Prices },
		Budgets:  func() *lease.Book { return h.Live.Snapshot().Budgets },
		Exchange: func() *price.Exchange { return h.Live.Snapshot().Exchange },
		Now:      h.Gateway.Now, Log: h.Logger,
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := l.Recover(ctx); err != nil {
		h.t.Fatal(err)
	}
	if err := h.Store.Release(ctx, "house", h.incarnation); err != nil {
		h.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { l.Run(ctx) })
	h.Gateway.Ledger = l
	h.Gateway.Claims = &gateway.Claims{Store: h.Store, Replica: "house", Incarnation: h.incarnation}
	h.stop = func() {
		cancel()
		running.Wait()
		_ = log.Close() // a test may have closed it
	}
}

// RestartLedger ends the ledger as a kill does and opens it anew: calls that
// nobody has settled are in doubt.
func (h *House) RestartLedger() {
	h.t.Helper()
	h.stop()
	h.openLedger()
}

// Sync waits until the store has everything that calls have settled.
func (h *House) Sync() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.Ledger.Sync(ctx); err != nil {
		h.t.Fatal(err)
	}
}

// Apply applies documents as the platform.
func (h *House) Apply(documents string) {
	h.t.Helper()
	if _, err := h.Admin.Apply(context.Background(), auth.Author{Caller: auth.Caller{Role: auth.Platform}, At: time.Now()}, []admin.Source{{Name: "test", Content: documents}}, false); err != nil {
		h.t.Fatal(err)
	}
}

// Key makes a key and returns its secret. A platform key is the first.
func (h *House) Key(tenant, name string, role auth.Role) string {
	h.t.Helper()
	secret := auth.NewSecret()
	key := auth.Key{Tenant: tenant, Project: admin.DefaultProject, Name: name, Role: role, Hash: auth.Hash(secret), Created: time.Now()}
	var err error
	if role == auth.Platform {
		key.Project = ""
		_, err = h.Store.FirstKey(context.Background(), key)
	} else {
		err = h.Store.CreateKey(context.Background(), key, auth.Author{At: time.Now()})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return secret
}

// Logbook keeps what is logged. It is safe for concurrent use.
type Logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *Logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *Logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
