package weir

import (
	"context"
	"strings"
	"testing"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/policy"
)

const moreDocuments = `---
kind: Policy
name: floor
rates:
  - {per: tenant, requests: 1000/min, concurrent: 5, tokens: 100k/min, token_burst: 20000}
---
kind: Policy
name: mail
tenant: acme
match: {models: ["sim*"]}
safety:
  output:
    - {guard: lexicon, terms: [abc], action: block, category: test/mail}
---
kind: Policy
name: theirs
tenant: other
`

func TestPolicies(t *testing.T) {
	h := withRoles(t, moreDocuments)
	client := weirv1.NewPolicyServiceClient(h.conn)
	list := func(who, parent string) string {
		t.Helper()
		var names []string
		req := &weirv1.ListPoliciesRequest{Parent: parent, PageSize: 1}
		for {
			page, err := client.ListPolicies(h.as(who), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range page.Policies {
				names = append(names, p.Name)
			}
			if req.PageToken = page.NextPageToken; req.PageToken == "" {
				return strings.Join(names, " ")
			}
		}
	}
	const own = "tenants/acme/policies/base tenants/acme/policies/mail"
	for _, c := range []struct{ who, parent, want string }{
		{"viewer", "tenants/acme", own}, {"viewer", "tenants/-", own}, {"platform", "", "policies/floor"},
		{"platform", "tenants/-", "policies/floor " + own + " tenants/other/policies/theirs"},
	} {
		if got := list(c.who, c.parent); got != c.want {
			t.Errorf("%s lists %q: %s", c.who, c.parent, got)
		}
	}
	got, err := client.GetPolicy(h.as("viewer"), &weirv1.GetPolicyRequest{Name: "tenants/acme/policies/mail"})
	if err != nil || !strings.Contains(got.Policy.Document, "test/mail") || got.Policy.Revision != 1 || got.Policy.Etag == "" {
		t.Fatalf("policy is %v, %v", got, err)
	}
	if floor, err := client.GetPolicy(h.as("platform"), &weirv1.GetPolicyRequest{Name: "policies/floor"}); err != nil || floor.Policy.Name != "policies/floor" {
		t.Errorf("floor is %v, %v", floor, err)
	}

	read := func(ctx context.Context, name string) error {
		_, err := client.GetPolicy(ctx, &weirv1.GetPolicyRequest{Name: name})
		return err
	}
	remove := func(ctx context.Context, name, etag string) error {
		_, err := client.DeletePolicy(ctx, &weirv1.DeletePolicyRequest{Name: name, Etag: etag})
		return err
	}
	h.rights("GetPolicy", func(ctx context.Context) error { return read(ctx, "tenants/acme/policies/base") },
		map[string]string{"platform": fine, "admin": fine, "viewer": fine, "member": no, "billing": no, "neighbour": absent})
	h.rights("GetPolicy of the platform", func(ctx context.Context) error { return read(ctx, "policies/floor") }, map[string]string{"admin": absent, "platform": fine})
	h.rights("ListPolicies", func(ctx context.Context) error {
		_, err := client.ListPolicies(ctx, &weirv1.ListPoliciesRequest{Parent: "tenants/acme"})
		return err
	}, map[string]string{"platform": fine, "admin": fine, "viewer": fine, "member": no, "billing": no, "neighbour": absent})
	h.rights("ListPolicies of the platform", func(ctx context.Context) error {
		_, err := client.ListPolicies(ctx, &weirv1.ListPoliciesRequest{})
		return err
	}, map[string]string{"admin": no, "platform": fine})
	h.rights("DeletePolicy", func(ctx context.Context) error { return remove(ctx, "tenants/acme/policies/base", "") },
		map[string]string{"viewer": no, "member": no, "billing": no, "neighbour": absent})
	h.rights("DeletePolicy of the platform", func(ctx context.Context) error { return remove(ctx, "policies/floor", "") }, map[string]string{"admin": absent, "viewer": absent})
	h.alike("GetPolicy", func(ctx context.Context, tenant string) error { return read(ctx, "tenants/"+tenant+"/policies/theirs") })
	h.alike("DeletePolicy", func(ctx context.Context, tenant string) error {
		return remove(ctx, "tenants/"+tenant+"/policies/theirs", "")
	})
	h.alike("ListPolicies", func(ctx context.Context, tenant string) error {
		_, err := client.ListPolicies(ctx, &weirv1.ListPoliciesRequest{Parent: "tenants/" + tenant})
		return err
	})

	// A policy is deleted as it was read, at one revision, and at once.
	h.Apply("{kind: Policy, name: mail, tenant: acme, safety: {output: [{guard: lexicon, terms: [abc, def], action: block}]}}")
	for _, stale := range []string{got.Policy.Etag, "what", "-1"} {
		if got := failure(remove(h.as("admin"), "tenants/acme/policies/mail", stale)); got != "Aborted RESOURCE_CHANGED" {
			t.Errorf("deleted with etag %q: %s", stale, got)
		}
	}
	models := weirv1.NewGenerationServiceClient(h.conn)
	blocked := func() bool {
		a, err := models.Generate(h.as("member"), ask("sim", "say: def"))
		return err == nil && a.Candidates[0].FinishReason == weirv1.FinishReason_FINISH_REASON_SAFETY
	}
	if !blocked() {
		t.Fatal("the policy holds for nothing")
	}
	got, err = client.GetPolicy(h.as("admin"), &weirv1.GetPolicyRequest{Name: "tenants/acme/policies/mail"})
	if err != nil {
		t.Fatal(err)
	}
	before := h.Live.Snapshot().Revision
	gone, err := client.DeletePolicy(h.as("admin"), &weirv1.DeletePolicyRequest{Name: got.Policy.Name, Etag: got.Policy.Etag})
	if err != nil || gone.Revision != before+1 || h.Live.Snapshot().Revision != before+1 {
		t.Fatalf("deleted %v at %d, %v", gone, before, err)
	}
	if blocked() {
		t.Error("a deleted policy holds")
	}
	if got := failure(remove(h.as("admin"), "tenants/acme/policies/mail", "")); got != absent {
		t.Errorf("deleted twice: %s", got)
	}
	if got := failure(remove(h.as("platform"), "policies/floor", "")); got != fine {
		t.Errorf("the platform's own: %s", got)
	}
	events, err := weirv1.NewAdminServiceClient(h.conn).ListAuditEvents(h.as("admin"), &weirv1.ListAuditEventsRequest{Parent: "tenants/acme", PageSize: 1})
	if e := events.GetEvents()[0]; err != nil || e.Action != "delete" || e.Kind != "Policy" || e.Name != "mail" || !strings.Contains(e.Before, "def") || e.After != "" || e.Author.Key != "admin" || e.RequestId == "" {
		t.Errorf("the log has %v, %v", e, err)
	}

	for want, call := range map[string]func() error{
		"name=POLICY_NAME":                     func() error { return read(h.as("admin"), "base") },
		"name=POLICY_NAME etag=STRING_MAX_LEN": func() error { return remove(h.as("admin"), "policies/", strings.Repeat("e", 129)) },
		"parent=POLICIES_PARENT": func() error {
			_, err := client.ListPolicies(h.as("admin"), &weirv1.ListPoliciesRequest{Parent: "acme"})
			return err
		},
		"page_token=": func() error {
			_, err := client.ListPolicies(h.as("admin"), &weirv1.ListPoliciesRequest{Parent: "tenants/acme", PageToken: "x"})
			return err
		},
		"parent=EXPLAIN_PARENT model=STRING_MIN_LEN": func() error {
			_, err := client.ExplainPolicy(h.as("admin"), &weirv1.ExplainPolicyRequest{Parent: "acme"})
			return err
		},
	} {
		if got := failure(call()); got != "InvalidArgument INVALID_REQUEST "+want {
			t.Errorf("%s: %s", want, got)
		}
	}
}

func TestExplainPolicy(t *testing.T) {
	h := withRoles(t, moreDocuments)
	client := weirv1.NewPolicyServiceClient(h.conn)
	own, err := client.ExplainPolicy(h.as("viewer"), &weirv1.ExplainPolicyRequest{Model: "sim"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(own.Policies, " "); got != "policies/floor tenants/acme/policies/base tenants/acme/policies/mail" || own.Revision != h.Live.Snapshot().Revision || own.OutputsMode != "metadata" {
		t.Errorf("policies are %s at %d, outputs %s", got, own.Revision, own.OutputsMode)
	}
	if len(own.Rules) != 7 || own.Rules[6].Rule != policy.UnseenRule || len(own.Rates) != 1 {
		t.Fatalf("rules are %v, rates %v", own.Rules, own.Rates)
	}
	last := own.Rules[4]
	if last.Policy != "tenants/acme/policies/mail" || last.Stage != weirv1.Stage_STAGE_OUTPUT || last.Action != weirv1.Action_ACTION_BLOCK || last.Guard != "lexicon" ||
		strings.Join(last.Categories, " ") != "test/mail" || last.HoldBackBytes == nil || own.HoldBackBytes == nil || *last.HoldBackBytes > *own.HoldBackBytes {
		t.Errorf("the last rule is %v, all hold back %v", last, own.HoldBackBytes)
	}
	if r := own.Rates[0]; r.Policy != "policies/floor" || r.Per != "tenant" || r.Requests == "" || r.GetBurst() != 1000 || r.Tokens == "" || r.GetTokenBurst() != 20000 || r.GetConcurrent() != 5 {
		t.Errorf("rate is %v", r)
	}
	other, err := client.ExplainPolicy(h.as("platform"), &weirv1.ExplainPolicyRequest{Parent: "tenants/acme/projects/default", Model: "cached"})
	if err != nil || strings.Join(other.Policies, " ") != "policies/floor tenants/acme/policies/base" {
		t.Errorf("for another model: %v, %v", other, err)
	}
	all, err := client.ExplainPolicy(h.as("platform"), &weirv1.ExplainPolicyRequest{Model: "sim"})
	if err != nil || strings.Join(all.Policies, " ") != "policies/floor" {
		t.Errorf("for everybody: %v, %v", all, err)
	}
	explain := func(ctx context.Context, parent string) error {
		_, err := client.ExplainPolicy(ctx, &weirv1.ExplainPolicyRequest{Parent: parent, Model: "sim"})
		return err
	}
	h.rights("ExplainPolicy", func(ctx context.Context) error { return explain(ctx, ownProject) },
		map[string]string{"platform": fine, "admin": fine, "viewer": fine, "member": no, "billing": no, "neighbour": absent})
	h.alike("ExplainPolicy", func(ctx context.Context, tenant string) error {
		return explain(ctx, "tenants/"+tenant+"/projects/default")
	})
	if got := failure(explain(h.as("admin"), "tenants/acme/projects/none")); got != absent {
		t.Errorf("a project that is not there: %s", got)
	}
	h.Apply("{kind: Policy, name: far, tenant: acme, routing: [{when: \"verdict.has('pii')\", only: private}]}")
	own, err = client.ExplainPolicy(h.as("viewer"), &weirv1.ExplainPolicyRequest{Model: "sim"})
	if err != nil || len(own.Restrictions) != 1 || own.Restrictions[0].Policy != "tenants/acme/policies/far" || own.Restrictions[0].Only != "private" || own.Restrictions[0].When == "" {
		t.Errorf("restrictions are %v, %v", own.GetRestrictions(), err)
	}
}

func TestModelService(t *testing.T) {
	h := withRoles(t, moreDocuments)
	client := weirv1.NewModelServiceClient(h.conn)
	got, err := client.GetModel(h.as("member"), &weirv1.GetModelRequest{Name: "models/sim"})
	if err != nil {
		t.Fatal(err)
	}
	m := got.Model
	if m.Name != "models/sim" || m.DefaultMaxOutputTokens != 100 || len(m.Targets) != 1 || strings.Join(m.Policies, " ") != "policies/floor tenants/acme/policies/base tenants/acme/policies/mail" {
		t.Fatalf("model is %v", m)
	}
	target := m.Targets[0]
	if target.Backend != "b0" || target.Kind != "simulator" || target.Model != "sim" || !target.Capabilities.Tools || target.Capabilities.MaxCandidates < 1 {
		t.Errorf("target is %v", target)
	}
	if p := target.Price; p == nil || p.Version != "sim@2026-01-01" || p.CurrencyCode != "USD" || p.UnitPrices["uncached_input_tokens"] != "0.000001" || p.UnitPrices["text_output_tokens"] != "0.000002" {
		t.Errorf("price is %v", p)
	}
	free, err := client.GetModel(h.as("member"), &weirv1.GetModelRequest{Name: "models/cached"})
	if err != nil || free.Model.Targets[0].Price != nil {
		t.Errorf("a model without a price is %v, %v", free, err)
	}
	var names []string
	req := &weirv1.ListModelsRequest{PageSize: 4}
	for more := true; more; more = req.PageToken != "" {
		page, err := client.ListModels(h.as("viewer"), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page.Models {
			names = append(names, strings.TrimPrefix(m.Name, "models/"))
		}
		req.PageToken = page.NextPageToken
	}
	if got := strings.Join(names, " "); got != "cached cut embed error overloaded sim stall" {
		t.Errorf("models are %s", got)
	}
	who := map[string]string{"platform": fine, "admin": fine, "member": fine, "viewer": fine, "billing": no}
	h.rights("GetModel", func(ctx context.Context) error {
		_, err := client.GetModel(ctx, &weirv1.GetModelRequest{Name: "models/sim"})
		return err
	}, who)
	h.rights("ListModels", func(ctx context.Context) error {
		_, err := client.ListModels(ctx, &weirv1.ListModelsRequest{})
		return err
	}, who)
	for want, call := range map[string]func() error{
		absent: func() error {
			_, err := client.GetModel(h.as("member"), &weirv1.GetModelRequest{Name: "models/none"})
			return err
		},
		"InvalidArgument INVALID_REQUEST name=MODEL_NAME": func() error {
			_, err := client.GetModel(h.as("member"), &weirv1.GetModelRequest{Name: "sim"})
			return err
		},
		"InvalidArgument INVALID_REQUEST page_token=": func() error {
			_, err := client.ListModels(h.as("member"), &weirv1.ListModelsRequest{PageToken: "x"})
			return err
		},
	} {
		if got := failure(call()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
