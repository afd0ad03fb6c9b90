package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/outputlog"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/accounting/spool"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/admit"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/cache"
	"github.com/weir-gateway/weir/server/face/openai"
	faceweir "github.com/weir-gateway/weir/server/face/weir"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/intercept"
	"github.com/weir-gateway/weir/server/route"
	"github.com/weir-gateway/weir/server/store"
	"github.com/weir-gateway/weir/server/store/postgres"
	"github.com/weir-gateway/weir/server/store/sqlite"
)

const (
	pollEvery  = 500 * time.Millisecond // how soon a change made elsewhere is in force here
	certsEvery = 10 * time.Second       // how soon new certificates are
)

// weir is a whole Weir, wired and listening.
type weir struct {
	server *server.Server
	store  *store.Store
	live   *admin.Live
	admin  *admin.Admin
	ledger *ledger.Ledger
	leases *lease.Holder
	// limiter shares rates with other replicas where they share a store.
	limiter *admit.Limiter
	claims  *gateway.Claims
	router  atomic.Pointer[route.Router]
	// providers tells whose each backend is.
	providers atomic.Pointer[map[string]string]
	judges    *judges
	cache     *cache.Cache
	loads     *loads
	log       *slog.Logger
	output    *outputlog.Log
	// telemetry is nil where nobody wants any.
	telemetry *telemetry
	// certificates are nil where the ports are plain. What is sent to renew has
	// them read again at once.
	certificates *server.Certificates
	renew        chan struct{}
	// reached is when the store last answered, in Unix nanoseconds; serving tells
	// clients whether calls are welcome.
	reached  atomic.Int64
	serving  func(bool)
	standing *standing
	// keep is for how long the ledger keeps lines; 0 is forever.
	keep time.Duration
	// running goes on beside the calls.
	running sync.WaitGroup
	// undo is what close does, last first; a start that fails does the same.
	undo []func()
}

// open wires a Weir and takes its ports. With demo it makes the tenant demo
// where the store is new.
func open(ctx context.Context, config Config, demo bool, t terminal, log *slog.Logger) (_ *weir, err error) {
	w := &weir{log: log, keep: config.Ledger.Keep, judges: newJudges(), cache: cache.New(0), renew: make(chan struct{}, 1)}
	w.loads = newLoads(func(name string, now time.Time, l *backend.Load) { w.router.Load().Hear(name, now, l) }, log)
	w.undo = append(w.undo, w.judges.close, w.loads.close)
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	secret, err := adminSecret(t.getenv)
	if err != nil {
		return nil, usageError(err)
	}
	if err := w.route(config); err != nil {
		return nil, usageError(err)
	}
	if w.certificates, err = config.TLS.open(); err != nil {
		return nil, usageError(err)
	}
	if err := os.MkdirAll(config.Data, 0o700); err != nil {
		return nil, usageError(fmt.Errorf("cannot make the data folder: %w: choose another with --data", err))
	}
	if err := w.openStore(ctx, config); err != nil {
		return nil, err
	}
	w.live = &admin.Live{Store: w.store, Keys: w.store, Factories: guards(), Log: log}
	if w.live.Defaults, err = price.Defaults(); err != nil {
		return nil, err
	}
	w.live.Reached = func() { w.reached.Store(time.Now().UnixNano()) }
	if err := w.live.Refresh(ctx); err != nil {
		return nil, err
	}
	w.admin = &admin.Admin{Store: w.store, Live: w.live}
	if err := w.openLedger(ctx, config); err != nil {
		return nil, err
	}
	if err := w.firstKeys(ctx, config.Data, secret, demo); err != nil {
		return nil, err
	}
	if w.telemetry, err = openTelemetry(ctx, config.Telemetry.OTLP, t.getenv, log); err != nil {
		return nil, usageError(err)
	}
	if w.telemetry != nil {
		w.undo = append(w.undo, w.telemetry.close)
	}
	if err := w.build(config); err != nil {
		return nil, err
	}
	if err := w.server.Listen(); err != nil {
		return nil, usageError(err)
	}
	w.warnOfOpenPorts()
	return w, nil
}

func (w *weir) close() {
	for len(w.undo) > 0 {
		last := w.undo[len(w.undo)-1]
		w.undo = w.undo[:len(w.undo)-1]
		last()
	}
}

// route makes the backends, models and guard services of a configuration those
// of the calls that come.
func (w *weir) route(config Config) error {
	judging, err := services(config.Guards)
	if err != nil {
		return err
	}
	router, err := config.router(w.router.Load())
	if err != nil {
		return err
	}
	w.router.Store(router)
	w.providers.Store(config.providers())
	w.judges.services.Store(&judging)
	w.loads.use(config.Backends)
	w.cache.Reset(config.Cache.size()) // its answers may be of backends that are others now
	return nil
}

func (w *weir) openStore(ctx context.Context, config Config) (err error) {
	switch {
	case config.Store == "":
		w.store, err = sqlite.Open(ctx, filepath.Join(config.Data, "weir.db"))
	case strings.HasPrefix(config.Store, "postgres://"), strings.HasPrefix(config.Store, "postgresql://"):
		w.store, err = postgres.Open(ctx, config.Store)
	default:
		return usageError(errors.New("the store is no URL of PostgreSQL: write it as postgres://user:password@host:5432/weir, or leave it out for SQLite in the data folder"))
	}
	if err != nil {
		return err
	}
	w.undo = append(w.undo, func() {
		if err := w.store.Shutdown(); err != nil {
			w.log.Error("the store did not close cleanly", "error", err)
		}
	})
	return nil
}

// build makes the servers of both ports.
func (w *weir) build(config Config) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if w.certificates != nil {
		registry.MustRegister(certificateExpiry(w.certificates))
	}
	metrics, err := intercept.NewMetrics(registry)
	if err != nil {
		return err
	}
	w.ledger.Watch = newWatch(w.store, registry, w.log)
	w.standing = w.newStanding(registry)
	chain := &intercept.Chain{
		Keys:    &auth.Keys{Lookup: w.live.Lookup, Now: time.Now},
		Metrics: metrics, Log: w.log, Now: time.Now,
		MaxDuration: config.longest(), StallTimeout: time.Duration(config.StallTimeout),
	}
	redactor, err := outputlog.NewRedactor(guards())
	if err != nil {
		return err
	}
	w.output = outputlog.New(w.store, redactor, newOutputMetrics(registry), w.log, time.Now)
	g := &gateway.Gateway{
		Policies: func() *policy.Set { return w.live.Snapshot().Policies },
		Router:   w.router.Load,
		Limiter:  w.limiter,
		Claims:   w.claims,
		Ledger:   w.ledger, MaxDuration: time.Duration(config.MaxDuration),
		Observe: newCallMetrics(registry).observe, Log: w.log, Now: time.Now,
		Cache: w.cache,
		Judge: w.judges.ask, Record: w.output.Record, Price: w.price,
	}
	w.judges.gateway = g
	watchCache(registry, w.cache)
	if w.telemetry != nil {
		chain.Follow, g.Follower = w.telemetry.call, w.telemetry
	}

	secure := insecure.NewCredentials()
	if w.certificates != nil {
		secure = credentials.NewTLS(w.certificates.Config("h2"))
	}
	calls := grpc.NewServer(append(append(chain.ServerOptions(), config.transport()...), grpc.Creds(secure))...)
	web := grpc.NewServer(append(chain.ServerOptions(), grpc.WaitForHandlers(true), grpc.MaxRecvMsgSize(maxMessage))...)
	for _, s := range []*grpc.Server{calls, web} {
		err = faceweir.Register(s, faceweir.Config{
			Gateway: g, Admin: w.admin, Reports: w.store, Budgets: w.store, Keys: w.store, Live: w.live, Now: time.Now,
			Outputs: w.store, Log: w.output, Redactor: redactor, Provider: w.provider,
			Ledger: w.store, Letters: w.store, Spool: func() (spool.Stats, error) { return w.ledger.Spool.Stats(), w.ledger.Spool.Err() },
			Away:  func(err error) bool { return errors.Is(err, store.ErrUnavailable) },
			Taken: func(err error) bool { return errors.Is(err, store.ErrAdjusted) },
			Load:  w.loadOf(config.GRPC),
		})
		if err != nil {
			return err
		}
	}
	status := health.NewServer()
	healthv1.RegisterHealthServer(calls, status)
	reflection.Register(calls)
	metrics.Methods(calls)
	serving := func(up bool) {
		state := healthv1.HealthCheckResponse_SERVING
		if !up {
			state = healthv1.HealthCheckResponse_NOT_SERVING
		}
		status.SetServingStatus("", state)
		for name := range calls.GetServiceInfo() {
			status.SetServingStatus(name, state)
		}
	}
	serving(true)
	w.serving = serving

	w.server = &server.Server{
		Config: server.Config{GRPC: config.Listen.GRPC, HTTP: config.Listen.HTTP, Admin: config.Listen.Admin, Grace: time.Duration(config.Grace)},
		GRPC:   calls, Web: web, Health: status, Certificates: w.certificates, Log: w.log,
	}
	public := http.NewServeMux()
	public.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { rw.Write([]byte("ok\n")) })
	public.HandleFunc("GET /readyz", w.readyz)
	public.Handle("/", openai.New(openai.Config{Gateway: g, Router: w.router.Load, Chain: chain}))
	if err := faceweir.Mount(public, web, maxMessage, chain.Web); err != nil {
		return err
	}
	w.server.HTTP, w.server.Admin = intercept.CORS(config.HTTP.CORSOrigins, public), operators(registry, w.log)
	return nil
}

// price is what a target costs a million tokens, for conditions. One that names
// only one side of a call is not known.
func (w *weir) price(t *route.Target, model string) (policy.Price, bool) {
	p, priced := w.live.Snapshot().Prices.Find(
		price.Target{Backend: t.Name, Provider: w.provider(t.Name), BackendModel: t.Model, Model: model}, time.Now())
	if !priced {
		return policy.Price{}, false
	}
	input, hasInput := p.PerUnit[accounting.Input]
	output, hasOutput := p.PerUnit[accounting.Output]
	const perMillion = 1e-6 // of a pico a token
	return policy.Price{Input: float64(input) * perMillion, Output: float64(output) * perMillion, Currency: p.Currency}, hasInput && hasOutput
}

// loadOf tells how busy the targets of a model are; nil where nobody is to know.
func (w *weir) loadOf(c GRPCConfig) func(string) (backend.Load, bool) {
	if !c.LoadReports {
		return nil
	}
	return func(name string) (backend.Load, bool) {
		model, known := w.router.Load().Plan(name)
		if !known {
			return backend.Load{}, false
		}
		return model.Load(time.Now()), true
	}
}

// readyz says whether calls are welcome here.
func (w *weir) readyz(rw http.ResponseWriter, _ *http.Request) {
	if err := w.unready(time.Now()); err != nil {
		http.Error(rw, err.Error(), http.StatusServiceUnavailable)
		return
	}
	rw.Write([]byte("ready\n"))
}

// unready tells why calls are not welcome here: on the way out, where the spool
// takes nothing more, and where the store has been away for longer than what
// was leased of budgets lasts.
func (w *weir) unready(now time.Time) error {
	lasts := lease.Defaults()
	switch {
	case w.server.Draining():
		return errors.New("draining")
	case w.ledger.Spool.Err() != nil:
		return errors.New("the spool cannot be written")
	case now.Sub(time.Unix(0, w.reached.Load())) > lasts.TTL-lasts.Skew:
		return errors.New("the store cannot be reached")
	}
	return nil
}

// tellHealth keeps what gRPC clients are told, until the context ends.
func (w *weir) tellHealth(ctx context.Context) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if !w.server.Draining() { // the drain has told them
				w.serving(w.unready(now) == nil)
			}
		}
	}
}

// serve answers until the context ends, and returns when every call has.
func (w *weir) serve(ctx context.Context, ready func()) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx)) // goes on while the drain does
	w.running.Go(func() { w.live.Poll(background, pollEvery) })
	w.running.Go(func() { w.tellHealth(background) })
	w.running.Go(func() { w.watch(background) })
	w.running.Go(func() { w.standing.keepLooking(background, w) })
	w.running.Go(func() { w.tendDays(background, w.keep) })
	w.running.Go(func() { w.output.Run(background) })
	w.running.Go(func() { w.output.Sweep(background) })
	if w.certificates != nil {
		w.running.Go(func() { w.certificates.Watch(background, certsEvery, w.renew, w.log) })
	}
	w.keepAccounts(background)
	ready()
	err := w.server.Serve(ctx)
	w.settleAccounts(ctx)
	stop()
	w.running.Wait()
	return err
}
