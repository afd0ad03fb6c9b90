package weir

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/auth"
)

// An rpcRow is what holds for one RPC. TestEveryRPC proves it, and what holds for
// all by their form: whatever pages, pages; whatever has an etag heeds it.
type rpcRow struct {
	// roles may call it. Keys of all others are denied.
	roles []auth.Role
	// of is a good request for what a tenant has, the same for each tenant but
	// for its name, be the tenant there or not.
	of func(p *premises, tenant string) proto.Message
	// fresh is a good request for a tenant's first or next call, where one call
	// uses up what it asks for. It is of(acme) where it is nil.
	fresh func(p *premises) proto.Message
	// list is a request for a list of at least two that stays as it is. It is
	// of(acme) where it is nil.
	list func(p *premises) proto.Message

	// global says why nothing in a request belongs to a tenant. It is empty
	// where something does.
	global string
	// denied is that a role which may call it is denied what another tenant
	// has, there or not. Else it is told that it is not there.
	denied bool
	// gone is the last segment of a name that nothing has, where it cannot be
	// "absent".
	gone string

	// slips are values that fields may not have, beside those of name, parent,
	// page_size and page_token. A nil leaves the field out.
	slips map[string]any
	// faultless says why no field can be wrong.
	faultless string

	// read is the method that reads what an etag is of, and change changes what
	// a name stands for, so that its etag is another.
	read   string
	change func(p *premises, name string)
}

var (
	everyone    = []auth.Role{auth.Admin, auth.Member, auth.Viewer, auth.Billing, auth.Platform}
	callers     = []auth.Role{auth.Admin, auth.Member}
	inspectors  = []auth.Role{auth.Admin, auth.Viewer, auth.Platform}
	configurers = []auth.Role{auth.Admin, auth.Platform}
	accountants = []auth.Role{auth.Admin, auth.Viewer, auth.Billing, auth.Platform}
	readers     = []auth.Role{auth.Admin, auth.Member, auth.Viewer, auth.Platform}
	judges      = []auth.Role{auth.Admin, auth.Member, auth.Platform}
	operators   = []auth.Role{auth.Platform}
)

// sameFor is a request that names no tenant.
func sameFor(req proto.Message) func(*premises, string) proto.Message {
	return func(*premises, string) proto.Message { return proto.Clone(req) }
}

const (
	modelsAreGlobal = "models are the same for all tenants"
	pricesAreGlobal = "prices are the same for all tenants"
	ownCalls        = "a call is of the tenant of its key"
)

// rows are those of all methods of weir.v1.
var rows = map[string]rpcRow{
	"GenerationService/Generate": {
		roles: callers, of: sameFor(ask("sim", "say: hi")), global: ownCalls,
		slips: map[string]any{"model": nil, "messages": nil},
	},
	"GenerationService/StreamGenerate": {
		roles: callers, of: sameFor(ask("sim", "say: hi")), global: ownCalls,
		slips: map[string]any{"model": nil, "messages": nil},
	},
	"GenerationService/CountTokens": {
		roles:  callers,
		of:     sameFor(&weirv1.CountTokensRequest{Model: "sim", Messages: ask("", "hi").Messages}),
		global: ownCalls, slips: map[string]any{"model": nil, "messages": nil},
	},
	"GenerationService/Moderate": {
		roles: callers, of: sameFor(&weirv1.ModerateRequest{Texts: []string{"hi"}}), global: ownCalls,
		slips: map[string]any{"texts": nil},
	},
	"GenerationService/Embed": {
		roles: callers, of: sameFor(&weirv1.EmbedRequest{Model: "embed", Inputs: []string{"hi"}}), global: ownCalls,
		slips: map[string]any{"model": nil, "inputs": nil},
	},

	"ModelService/GetModel":   {roles: readers, of: sameFor(&weirv1.GetModelRequest{Name: "models/sim"}), global: modelsAreGlobal},
	"ModelService/ListModels": {roles: readers, of: sameFor(&weirv1.ListModelsRequest{}), global: modelsAreGlobal},

	"PolicyService/GetPolicy": {roles: inspectors, of: func(_ *premises, tenant string) proto.Message {
		return &weirv1.GetPolicyRequest{Name: "tenants/" + tenant + "/policies/extra"}
	}},
	"PolicyService/ListPolicies": {roles: inspectors, of: func(_ *premises, tenant string) proto.Message {
		return &weirv1.ListPoliciesRequest{Parent: "tenants/" + tenant}
	}},
	"PolicyService/DeletePolicy": {
		roles: configurers,
		of: func(_ *premises, tenant string) proto.Message {
			return &weirv1.DeletePolicyRequest{Name: "tenants/" + tenant + "/policies/extra"}
		},
		fresh: func(p *premises) proto.Message {
			p.n++
			p.Apply(fmt.Sprintf("{kind: Policy, tenant: acme, name: p%d, outputs: {mode: metadata}}", p.n))
			return &weirv1.DeletePolicyRequest{Name: fmt.Sprintf("tenants/acme/policies/p%d", p.n)}
		},
		read: "PolicyService/GetPolicy",
		change: func(p *premises, name string) {
			p.Apply("{kind: Policy, tenant: acme, name: " + segment(name, 3) + ", outputs: {mode: none}}")
		},
	},
	"PolicyService/ExplainPolicy": {
		roles: inspectors,
		of: func(_ *premises, tenant string) proto.Message {
			return &weirv1.ExplainPolicyRequest{Parent: "tenants/" + tenant + "/projects/search", Model: "sim"}
		},
		slips: map[string]any{"model": nil},
	},

	"TenantService/GetTenant": {roles: inspectors, of: func(_ *premises, tenant string) proto.Message {
		return &weirv1.GetTenantRequest{Name: "tenants/" + tenant}
	}},
	"TenantService/ListTenants": {
		roles: inspectors, of: sameFor(&weirv1.ListTenantsRequest{}),
		global: "a tenant's key gets its own tenant alone: see TestTenantsAndProjects",
	},
	"TenantService/GetProject": {roles: inspectors, of: func(_ *premises, tenant string) proto.Message {
		return &weirv1.GetProjectRequest{Name: "tenants/" + tenant + "/projects/search"}
	}},
	"TenantService/ListProjects": {roles: inspectors, of: func(_ *premises, tenant string) proto.Message {
		return &weirv1.ListProjectsRequest{Parent: "tenants/" + tenant}
	}},
	"TenantService/CreateKey": {
		roles: configurers,
		of: func(_ *premises, tenant string) proto.Message {
			return &weirv1.CreateKeyRequest{Parent: "tenants/" + tenant + "/projects/default", KeyId: "new", Key: &weirv1.Key{Role: weirv1.KeyRole_KEY_ROLE_MEMBER}}
		},
		fresh: func(p *premises) proto.Message {
			p.n++
			return &weirv1.CreateKeyRequest{Parent: ownProject, KeyId: fmt.Sprintf("new-%d", p.n), Key: &weirv1.Key{Role: weirv1.KeyRole_KEY_ROLE_MEMBER}}
		},
		slips: map[string]any{"key_id": "No_Id", "key": nil},
	},
	"TenantService/GetKey": {roles: inspectors, of: func(_ *premises, tenant string) proto.Message {
		return &weirv1.GetKeyRequest{Name: theirKey(tenant)}
	}},
	"TenantService/ListKeys": {roles: inspectors, of: func(_ *premises, tenant string) proto.Message {
		return &weirv1.ListKeysRequest{Parent: "tenants/" + tenant + "/projects/default"}
	}},
	"TenantService/RevokeKey": {
		roles: configurers,
		of: func(_ *premises, tenant string) proto.Message {
			return &weirv1.RevokeKeyRequest{Name: theirKey(tenant)}
		},
		fresh: func(p *premises) proto.Message { return &weirv1.RevokeKeyRequest{Name: p.newKey()} },
		slips: map[string]any{"etag": long},
		read:  "TenantService/GetKey", change: rotate,
	},
	"TenantService/RotateKey": {
		roles: configurers,
		of: func(_ *premises, tenant string) proto.Message {
			return &weirv1.RotateKeyRequest{Name: theirKey(tenant)}
		},
		fresh: func(p *premises) proto.Message { return &weirv1.RotateKeyRequest{Name: p.newKey()} },
		slips: map[string]any{"etag": long},
		read:  "TenantService/GetKey", change: rotate,
	},

	"AdminService/ApplyDocuments": {
		roles: configurers,
		of: func(_ *premises, tenant string) proto.Message {
			return &weirv1.ApplyDocumentsRequest{Sources: []*weirv1.DocumentSource{{Name: "a.yaml", Content: "{kind: Project, tenant: " + tenant + ", name: more}"}}}
		},
		denied: true,
		slips:  map[string]any{"sources": nil},
	},
	"AdminService/ListAuditEvents": {roles: configurers, of: func(_ *premises, tenant string) proto.Message {
		return &weirv1.ListAuditEventsRequest{Parent: "tenants/" + tenant}
	}},
	"AdminService/ListBackends": {
		roles: operators, of: sameFor(&weirv1.ListBackendsRequest{}), global: "backends are the platform's",
	},

	"AccountingService/QueryCosts": {
		roles: everyone,
		of: func(_ *premises, tenant string) proto.Message {
			return &weirv1.QueryCostsRequest{
				Parent: "tenants/" + tenant, GroupBy: []string{"key", "model"},
				StartTime: timestamppb.New(time.Unix(0, 0)), EndTime: timestamppb.New(time.Unix(4e9, 0)),
			}
		},
		slips: map[string]any{"start_time": nil, "end_time": nil, "group_by": []string{"colour"}},
	},
	"AccountingService/ListBudgets": {roles: accountants, of: func(_ *premises, tenant string) proto.Message {
		return &weirv1.ListBudgetsRequest{Parent: "tenants/" + tenant}
	}},
	"AccountingService/GetBudget": {roles: accountants, of: func(_ *premises, tenant string) proto.Message {
		return &weirv1.GetBudgetRequest{Name: "tenants/" + tenant + "/budgets/cap"}
	}},
	"AccountingService/AdjustBudget": {
		roles: operators,
		of: func(_ *premises, tenant string) proto.Message {
			return topUp("tenants/"+tenant+"/budgets/cap", "a1", usd(1, 0))
		},
		slips: map[string]any{"amount": nil, "reason": nil, "adjustment_id": "No_Id", "scope": "label/no"},
	},
	"AccountingService/ListPrices": {roles: accountants, of: sameFor(&weirv1.ListPricesRequest{}), global: pricesAreGlobal, slips: map[string]any{"source": protoreflect.EnumNumber(99)}},
	"AccountingService/GetPrice":   {roles: accountants, of: sameFor(&weirv1.GetPriceRequest{Name: "prices/sim@2026-01-01"}), global: pricesAreGlobal},
	"AccountingService/ListLeases": {
		roles: operators,
		of: func(_ *premises, tenant string) proto.Message {
			return &weirv1.ListLeasesRequest{Parent: "tenants/" + tenant}
		},
		list:   func(*premises) proto.Message { return &weirv1.ListLeasesRequest{Parent: "tenants/quiet"} },
		denied: true,
	},
	"AccountingService/ReclaimLease": {
		roles: operators, of: sameFor(&weirv1.ReclaimLeaseRequest{Name: "leases/gone/3/1"}),
		fresh: func(p *premises) proto.Message {
			p.n++
			p.grant("quiet", "cap", "gone", int64(p.n), 1000, -time.Minute)
			if _, err := p.Store.Sweep(p.t.Context(), lease.Sweep{Grace: 2 * time.Second, Keep: forever}); err != nil {
				p.t.Fatal(err)
			}
			return &weirv1.ReclaimLeaseRequest{Name: fmt.Sprintf("leases/gone/3/%d", p.n)}
		},
		global: "leases are the platform's", gone: "999999",
	},
	"AccountingService/ListLines": {
		roles: everyone,
		of: func(_ *premises, tenant string) proto.Message {
			return &weirv1.ListLinesRequest{Parent: "tenants/" + tenant, Filter: &weirv1.LineFilter{Outcome: "completed"}}
		},
		list: func(*premises) proto.Message { return &weirv1.ListLinesRequest{Parent: "tenants/-"} },
	},
	"AccountingService/GetCall": {roles: everyone, of: func(p *premises, tenant string) proto.Message {
		return &weirv1.GetCallRequest{Name: strings.Replace(p.outputOf(tenant), "/outputs/", "/calls/", 1)}
	}},
	"AccountingService/ListDeadLetters": {
		roles: operators, of: sameFor(&weirv1.ListDeadLettersRequest{}), global: "dead letters are the platform's",
	},
	"AccountingService/ReplayDeadLetter": {
		roles: operators, of: sameFor(&weirv1.ReplayDeadLetterRequest{Name: "deadLetters/1"}),
		fresh:  func(p *premises) proto.Message { return &weirv1.ReplayDeadLetterRequest{Name: p.bury("acme")} },
		global: "dead letters are the platform's", gone: "999999",
	},
	"AccountingService/CheckLedger": {
		roles: operators, of: sameFor(&weirv1.CheckLedgerRequest{}),
		global: "the ledger is the platform's", faultless: "the request is empty",
	},

	"EvaluationService/ListOutputs": {roles: readers, of: func(_ *premises, tenant string) proto.Message {
		return &weirv1.ListOutputsRequest{Parent: "tenants/" + tenant}
	}},
	"EvaluationService/GetOutput": {roles: readers, of: func(p *premises, tenant string) proto.Message {
		return &weirv1.GetOutputRequest{Name: p.outputOf(tenant)}
	}},
	"EvaluationService/ExportOutputs": {roles: readers, of: func(_ *premises, tenant string) proto.Message {
		return &weirv1.ExportOutputsRequest{Parent: "tenants/" + tenant}
	}},
	"EvaluationService/CreateRating": {
		roles: judges,
		of: func(p *premises, tenant string) proto.Message {
			return &weirv1.CreateRatingRequest{Parent: p.outputOf(tenant), Rating: &weirv1.Rating{Thumb: weirv1.Thumb_THUMB_UP}}
		},
		slips: map[string]any{"rating": nil, "rating_id": "No_Id"},
	},
}

// bury sets a call of a tenant aside, and returns the name of the letter.
func (h *house) bury(tenant string) string {
	h.t.Helper()
	e := ledger.Entry{Line: accounting.Line{
		Attempt: accounting.Attempt{RequestID: uuid.Must(uuid.NewV7()).String(), Number: 1, Model: "sim", Subject: accounting.Subject{Tenant: tenant}, Start: time.Now(), Deadline: time.Now()},
		End:     time.Now(), Outcome: accounting.OutcomeCompleted,
	}}
	if w, err := h.Live.Snapshot().Budgets.WindowOf(tenant, "cap", "", h.Clock()); err == nil {
		e.Settled = []ledger.Settled{{Window: &w, Amount: 1000, Uncovered: 1000}}
	}
	if err := h.Store.Bury(h.t.Context(), []ledger.DeadLetter{ledger.LetterOf(&e, errors.New("the disk was odd"))}); err != nil {
		h.t.Fatal(err)
	}
	letters, err := h.Store.Letters(h.t.Context(), 0, mostPage)
	if err != nil || len(letters) == 0 {
		h.t.Fatalf("%d letters, %v", len(letters), err)
	}
	return fmt.Sprintf("deadLetters/%d", letters[len(letters)-1].ID)
}

func theirKey(tenant string) string { return "tenants/" + tenant + "/projects/default/keys/theirs" }

var long = fmt.Sprintf("%0200d", 0)

func rotate(p *premises, name string) {
	if _, err := weirv1.NewTenantServiceClient(p.conn).RotateKey(p.as("admin"), &weirv1.RotateKeyRequest{Name: name}); err != nil {
		p.t.Fatal(err)
	}
}

// newKey makes a key of acme and returns its name.
func (p *premises) newKey() string {
	p.n++
	name := fmt.Sprintf("made-%d", p.n)
	p.Key("acme", name, auth.Member)
	return ownProject + "/keys/" + name
}

// outputOf is an output of a tenant; of one that is not there, by the id of
// another's.
func (p *premises) outputOf(tenant string) string {
	if tenant == "acme" {
		return outputName(tenant, p.ours)
	}
	return outputName(tenant, p.theirs)
}
