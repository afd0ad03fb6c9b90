// Package weir is the face that speaks our own API, weir.v1 over gRPC: it turns
// messages into the neutral form and back, and checks what the proto files say
// of a request. What a call does is the gateway's business and what a document
// means is package admin's; here are only words.
//
// Handlers return the errors of the packages below as they are. The chain of
// package intercept turns them into statuses.
package weir

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/outputlog"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/accounting/report"
	"github.com/weir-gateway/weir/accounting/spool"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/route"
)

// Config is what stands behind the services.
type Config struct {
	Gateway *gateway.Gateway
	Admin   *admin.Admin
	Reports report.Store
	Budgets BudgetStore
	Ledger  LedgerStore
	Letters LetterStore
	Keys    auth.Store
	Live    *admin.Live
	Now     func() time.Time
	// Outputs keeps what Log writes; Redactor makes ratings fit to be written.
	Outputs  outputlog.Store
	Log      *outputlog.Log
	Redactor *outputlog.Redactor
	// Provider tells whose a backend is, "" where that is not known; nil knows
	// none.
	Provider func(backend string) string
	// Spool tells how this replica's spool stands, and why it is broken where it
	// is.
	Spool func() (spool.Stats, error)
	// Away tells whether an error means that the store cannot be asked. It is
	// a func since only cmd knows which store there is; nil is never.
	Away func(error) bool
	// Taken tells whether an error of Budgets means that an adjustment's id is
	// taken.
	Taken func(error) bool
	// Load is how busy the targets of a model are, for callers that ask; nil tells
	// nobody.
	Load func(model string) (backend.Load, bool)
}

// Register registers all services, each behind the check of its requests. The
// interceptors of the server must put a caller into the context. It fails where
// a rule of a proto file does not compile.
func Register(server grpc.ServiceRegistrar, c Config) error {
	v, err := newValidation()
	if err != nil {
		return err
	}
	if c.Provider == nil {
		c.Provider = func(string) string { return "" }
	}
	s := checked{server, v, resources()}
	weirv1.RegisterGenerationServiceServer(s, &Generation{Gateway: c.Gateway, Load: c.Load})
	weirv1.RegisterAdminServiceServer(s, &Admin{
		Apply: func(ctx context.Context, by auth.Author, sources []admin.Source, validateOnly bool) (admin.Result, error) {
			result, err := c.Admin.Apply(ctx, by, sources, validateOnly)
			return result, c.away("the configuration", err)
		},
		Events: func(ctx context.Context, q admin.EventQuery) ([]admin.Event, error) {
			events, err := c.Admin.Store.Events(ctx, q)
			return events, c.away("the audit log", err)
		},
		HasTenant: c.hasTenant, Router: func() *route.Router { return c.Gateway.Router() }, Now: c.Now,
	})
	weirv1.RegisterAccountingServiceServer(s, &Accounting{
		Settled: c.Gateway.Settled,
		Sum: func(ctx context.Context, q report.Query) (report.Report, error) {
			sums, err := c.Reports.Sum(ctx, q)
			return sums, c.away("the ledger", err)
		},
		Lines: func(ctx context.Context, q report.LineQuery) ([]report.Line, error) {
			lines, err := c.Reports.ListLines(ctx, q)
			return lines, c.away("the ledger", err)
		},
		HasTenant: c.hasTenant,
		Book:      func() *lease.Book { return c.Live.Snapshot().Budgets },
		Budgets:   c.Budgets, Taken: c.Taken, Now: c.Now,
		Prices: func() *price.Catalogue { return c.Live.Snapshot().Prices },
		Ledger: c.Ledger, Spool: c.Spool, Letters: c.Letters,
		Away: func(err error) error { return c.away("the ledger", err) },
	})
	weirv1.RegisterTenantServiceServer(s, &Tenants{
		Keys: c.Keys, Live: c.Live, Now: c.Now,
		Away: func(err error) error { return c.away("the keys", err) },
	})
	weirv1.RegisterPolicyServiceServer(s, &Policies{
		Snapshot: c.Live.Snapshot,
		Delete: func(ctx context.Context, tenant, name string, revision int64) (int64, error) {
			by, err := authorOf(ctx, c.Now)
			if err != nil {
				return 0, err
			}
			after, err := c.Admin.DeletePolicy(ctx, by, tenant, name, revision)
			return after, c.away("the configuration", err)
		},
	})
	weirv1.RegisterModelServiceServer(s, &Models{Router: c.Gateway.Router, Snapshot: c.Live.Snapshot, Provider: c.Provider, Now: c.Now})
	weirv1.RegisterEvaluationServiceServer(s, &Evaluation{
		Outputs: c.Outputs, Redactor: c.Redactor, Flush: c.Log.Flush, Now: c.Now,
		HasTenant: c.hasTenant,
		Away:      func(err error) error { return c.away("the output log", err) },
	})
	return nil
}

func (c Config) hasTenant(name string) bool { return c.Live.Snapshot().HasTenant(name) }

// away marks what the caller should try again.
func (c Config) away(what string, err error) error {
	if err != nil && c.Away != nil && c.Away(err) {
		return &face.UnavailableError{What: what, Err: err}
	}
	return err
}

func callerOf(ctx context.Context) (auth.Caller, error) {
	caller, ok := auth.FromContext(ctx)
	if !ok {
		return auth.Caller{}, errors.New("the call reached a service without a caller: the chain lacks authentication")
	}
	return caller, nil
}

// authorOf is the caller as who changes something.
func authorOf(ctx context.Context, now func() time.Time) (auth.Author, error) {
	caller, err := callerOf(ctx)
	return auth.Author{Caller: caller, RequestID: face.TrailOf(ctx).RequestID, At: now()}, err
}

// allowed refuses a caller whose tenant it is not, as if there were none of that
// name, and then one whose role has not the right to do something, which says
// what it is and who may.
func allowed(caller auth.Caller, hasTenant func(string) bool, tenant, kind, name string, right func(auth.Role) bool, do, who string) error {
	switch {
	case !caller.IsPlatform() && caller.Tenant != tenant || !hasTenant(tenant):
		return missing(kind, name)
	case !right(caller.Role):
		return denied(caller, do, who)
	}
	return nil
}

func denied(caller auth.Caller, do, who string) error {
	return &face.DeniedError{Why: fmt.Sprintf("key %q is of role %s and may not %s: use one of role %s", caller.Key, caller.Role, do, who)}
}

const (
	tenantType  = "weir.v1/Tenant"
	projectType = "weir.v1/Project"
	keyType     = "weir.v1/Key"
	budgetType  = "weir.v1/Budget"
	callType    = "weir.v1/Call"
	letterType  = "weir.v1/DeadLetter"
	policyType  = "weir.v1/Policy"
	modelType   = "weir.v1/Model"
	outputType  = "weir.v1/Output"
	ratingType  = "weir.v1/Rating"
	leaseType   = "weir.v1/Lease"
	priceType   = "weir.v1/Price"
)

// missing says that a resource is not there. A caller who may not see it gets
// the same.
func missing(kind, name string) error {
	return &face.NotFoundError{Resource: face.Resource{Type: kind, Name: name}}
}

// segment returns the n-th segment of a resource name, whose form the proto
// file has checked.
func segment(name string, n int) string { return strings.Split(name, "/")[n] }
