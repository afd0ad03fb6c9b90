package weir

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weir-gateway/weir/accounting/price"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/route"
)

// Models answers weir.v1.ModelService.
type Models struct {
	weirv1.UnimplementedModelServiceServer

	// Router and Snapshot return what is in force now.
	Router   func() *route.Router
	Snapshot func() *admin.Snapshot
	// Provider tells whose a backend is, "" where that is not known.
	Provider func(backend string) string
	Now      func() time.Time
}

func maySeeModels(ctx context.Context) (auth.Caller, error) {
	caller, err := callerOf(ctx)
	if err == nil && !caller.Role.Calls() && !caller.Role.Inspects() {
		err = denied(caller, "see models", "member, viewer or admin")
	}
	return caller, err
}

// GetModel tells of a model.
func (m *Models) GetModel(ctx context.Context, req *weirv1.GetModelRequest) (*weirv1.GetModelResponse, error) {
	caller, err := maySeeModels(ctx)
	if err != nil {
		return nil, err
	}
	known, ok := m.Router().Plan(strings.TrimPrefix(req.GetName(), "models/"))
	if !ok {
		return nil, missing(modelType, req.GetName())
	}
	return &weirv1.GetModelResponse{Model: m.model(caller, known)}, nil
}

// ListModels lists the models.
func (m *Models) ListModels(ctx context.Context, req *weirv1.ListModelsRequest) (*weirv1.ListModelsResponse, error) {
	caller, err := maySeeModels(ctx)
	if err != nil {
		return nil, err
	}
	page, err := openPage("models", req, 1, mostPage)
	if err != nil {
		return nil, err
	}
	router := m.Router()
	out := &weirv1.ListModelsResponse{}
	names, next, err := pageOf(page, router.Models(), func(name string) string { return name })
	for _, name := range names {
		known, _ := router.Plan(name) // the same router has just listed it
		out.Models = append(out.Models, m.model(caller, known))
	}
	out.NextPageToken = next
	return out, err
}

func (m *Models) model(caller auth.Caller, of *route.Model) *weirv1.Model {
	snapshot := m.Snapshot()
	rules := snapshot.Policies.Resolve(policy.Subject{Tenant: caller.Tenant, Project: caller.Project, Key: caller.Key, Model: of.Name})
	out := &weirv1.Model{Name: "models/" + of.Name, DefaultMaxOutputTokens: int32(of.MaxOutputTokens), Policies: policyNames(rules)}
	for _, t := range of.Targets {
		target := &weirv1.ModelTarget{Backend: t.Name, Kind: t.Kind, Model: t.Model, Tags: t.Tags, Capabilities: capabilities(t)}
		if p, priced := snapshot.Prices.Find(price.Target{Backend: t.Name, Provider: m.Provider(t.Name), BackendModel: t.Model, Model: of.Name}, m.Now()); priced {
			target.Price = &weirv1.ModelPrice{Version: p.Version, CurrencyCode: p.Currency, EffectiveTime: timestamppb.New(p.Effective)}
			target.Price.UnitPrices = unitPrices(p.PerUnit)
		}
		out.Targets = append(out.Targets, target)
	}
	return out
}

func capabilities(t route.Target) *weirv1.ModelCapabilities {
	can := t.Backend.Capabilities(t.Model)
	_, counts := t.Backend.(backend.Counter)
	out := &weirv1.ModelCapabilities{
		MaxCandidates: int32(can.Candidates), Tools: can.Tools, Json: can.JSON, JsonSchema: can.Schema, Seed: can.Seed, TopK: can.TopK, CountsTokens: counts, Embeddings: can.Embeds,
	}
	if can.MaxOutputTokens > 0 {
		out.MaxOutputTokens = proto.Int32(int32(can.MaxOutputTokens))
	}
	return out
}
