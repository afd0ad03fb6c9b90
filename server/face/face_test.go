package face

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/gateway"
)

// reasonsOf reads the constants of type Reason from a source file, so that
// nobody can add one that this test does not know.
func reasonsOf(t *testing.T, file string) []gateway.Reason {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []gateway.Reason
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Type == nil || len(spec.Values) != 1 {
			return true
		}
		kind := fmt.Sprint(spec.Type)
		if selector, ok := spec.Type.(*ast.SelectorExpr); ok {
			kind = selector.Sel.Name
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if kind == "Reason" && ok {
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, gateway.Reason(value))
		}
		return true
	})
	return all
}

func TestEveryReasonHasARow(t *testing.T) {
	ofGateway, own := reasonsOf(t, "../gateway/errors.go"), reasonsOf(t, "table.go")
	if len(ofGateway) < 10 || len(own) < 5 {
		t.Fatalf("found %d reasons of the gateway and %d of this package: the test reads them wrongly", len(ofGateway), len(own))
	}
	for _, r := range append(ofGateway, own...) {
		row, ok := table[r]
		if !ok {
			t.Errorf("reason %s has no row", r)
			continue
		}
		if row.Code == codes.OK || row.HTTP < 400 || row.Type == "" {
			t.Errorf("row of %s is not whole: %+v", r, row)
		}
		if f := Explain(&gateway.Error{Reason: r, Message: "m"}, "id"); f.Reason != r {
			t.Errorf("an error of reason %s is told as %s", r, f.Reason)
		}
	}
	if len(table) != len(ofGateway)+len(own) {
		t.Errorf("the table has %d rows for %d reasons", len(table), len(ofGateway)+len(own))
	}
}

func TestReasonsAreThoseOfTheProto(t *testing.T) {
	for r := range table {
		if _, ok := weirv1.ErrorReason_value["ERROR_REASON_"+string(r)]; !ok {
			t.Errorf("weirv1.ErrorReason lacks %s", r)
		}
	}
	for name := range weirv1.ErrorReason_value {
		if _, ok := table[gateway.Reason(strings.TrimPrefix(name, "ERROR_REASON_"))]; !ok && name != "ERROR_REASON_UNSPECIFIED" {
			t.Errorf("%s has no row", name)
		}
	}
}

// detail returns the one detail of a type, or nil.
func detail[T proto.Message](t *testing.T, f Failure) (found T) {
	t.Helper()
	st := f.Status("id-1")
	info := false
	for _, d := range st.Details() {
		if e, ok := d.(*errdetails.ErrorInfo); ok {
			info = e.Reason == string(f.Reason) && e.Domain == "weir.v1" && e.Metadata["request_id"] == "id-1"
		}
		if m, ok := d.(T); ok {
			found = m
		}
	}
	if !info {
		t.Errorf("%s: the status lacks its ErrorInfo", f.Reason)
	}
	return found
}

func TestErrorsAreToldAsTheTableSays(t *testing.T) {
	cause := errors.New("the cause")
	for _, c := range []struct {
		name     string
		err      error
		reason   gateway.Reason
		code     codes.Code
		http     int
		openai   string
		pushback string
	}{
		{"input blocked", &gateway.Error{Reason: gateway.InputBlocked}, gateway.InputBlocked, codes.FailedPrecondition, 400, "content_filter", "-1"},
		{"rate", &gateway.Error{Reason: gateway.RateLimitExceeded, RetryAfter: 1500 * time.Millisecond}, gateway.RateLimitExceeded, codes.ResourceExhausted, 429, "rate_limit_exceeded", "1500"},
		{"rate, to the nanosecond", &gateway.Error{Reason: gateway.RateLimitExceeded, RetryAfter: 1500*time.Millisecond + 1}, gateway.RateLimitExceeded, codes.ResourceExhausted, 429, "rate_limit_exceeded", "1501"},
		{"budget", &gateway.Error{Reason: gateway.BudgetExhausted}, gateway.BudgetExhausted, codes.ResourceExhausted, 429, "insufficient_quota", "-1"},
		{"overloaded", &gateway.Error{Reason: gateway.BackendOverloaded}, gateway.BackendOverloaded, codes.Unavailable, 503, "overloaded", "1000"},
		{"unavailable", &gateway.Error{Reason: gateway.BackendUnavailable, RetryAfter: 3 * time.Second}, gateway.BackendUnavailable, codes.Unavailable, 503, "backend_unavailable", "3000"},
		{"broken", &gateway.Error{Reason: gateway.StreamBroken, RetryAfter: time.Second}, gateway.StreamBroken, codes.Aborted, 502, "stream_broken", "-1"},
		{"accounting", &gateway.Error{Reason: gateway.AccountingUnavailable}, gateway.AccountingUnavailable, codes.Unavailable, 503, "accounting_unavailable", "1000"},
		{"unpriced", &gateway.Error{Reason: gateway.UnpricedModel}, gateway.UnpricedModel, codes.FailedPrecondition, 400, "unpriced_model", "-1"},
		{"deadline", &gateway.Error{Reason: gateway.DeadlineExceeded}, gateway.DeadlineExceeded, codes.DeadlineExceeded, 504, "deadline_exceeded", "-1"},
		{"credentials", &gateway.Error{Reason: gateway.BackendCredentials}, gateway.BackendCredentials, codes.Internal, 502, "backend_credentials", "-1"},
		{"protocol", &gateway.Error{Reason: gateway.BackendProtocol}, gateway.BackendProtocol, codes.Internal, 502, "backend_protocol", "-1"},
		{"model", &gateway.Error{Reason: gateway.ModelNotFound}, gateway.ModelNotFound, codes.NotFound, 404, "model_not_found", "-1"},
		{"invalid", Invalid("messages", "missing"), gateway.InvalidRequest, codes.InvalidArgument, 400, "", "-1"},
		{"unsupported", &gateway.Error{Reason: gateway.UnsupportedFeature, Field: "tools"}, gateway.UnsupportedFeature, codes.InvalidArgument, 400, "unsupported_parameter", "-1"},
		{"key", fmt.Errorf("wrapped: %w", &auth.InvalidError{Why: "no key"}), CredentialsInvalid, codes.Unauthenticated, 401, "invalid_api_key", "-1"},
		{"right", &DeniedError{"no"}, PermissionDenied, codes.PermissionDenied, 403, "permission_denied", "-1"},
		{"document's right", &admin.ForbiddenError{Why: "no"}, PermissionDenied, codes.PermissionDenied, 403, "permission_denied", "-1"},
		{"document", &admin.InvalidError{Violations: []admin.Violation{{}}}, gateway.InvalidRequest, codes.InvalidArgument, 400, "", "-1"},
		{"problems", policy.Problems{{Message: "m"}}, gateway.InvalidRequest, codes.InvalidArgument, 400, "", "-1"},
		{"missing", &NotFoundError{}, ResourceNotFound, codes.NotFound, 404, "not_found", "-1"},
		{"exists", &ExistsError{Err: cause}, ResourceExists, codes.AlreadyExists, 409, "already_exists", "-1"},
		{"store", &UnavailableError{"the ledger", cause}, StoreUnavailable, codes.Unavailable, 503, "store_unavailable", "1000"},
		{"deadline of a store", fmt.Errorf("read: %w", context.DeadlineExceeded), gateway.DeadlineExceeded, codes.DeadlineExceeded, 504, "deadline_exceeded", "-1"},
		{"cancelled", context.Canceled, gateway.Cancelled, codes.Canceled, 499, "cancelled", "-1"},
		{"unlisted", cause, Internal, codes.Internal, 500, "", "-1"},
		{"unlisted reason", &gateway.Error{Reason: "NEW", Message: "secret"}, Internal, codes.Internal, 500, "", "-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := Explain(c.err, "id-1")
			if f.Reason != c.reason || f.Code != c.code || f.HTTP != c.http || f.OpenAI != c.openai || f.Pushback() != c.pushback {
				t.Errorf("told as %s %v %d %q pushback %s", f.Reason, f.Code, f.HTTP, f.OpenAI, f.Pushback())
			}
			retry := detail[*errdetails.RetryInfo](t, f)
			if (retry != nil) != (c.pushback != "-1") {
				t.Errorf("RetryInfo %v with pushback %s", retry, c.pushback)
			}
		})
	}
}

func TestInternalTellsTheRequestIDAlone(t *testing.T) {
	for _, err := range []error{
		errors.New("dial postgres://secret"),
		&gateway.Error{Reason: "NEW", Message: "secret", Field: "secret", Subject: "secret", Verdicts: []policy.Verdict{{Rule: "secret"}}},
	} {
		f := Explain(err, "id-1")
		if !strings.Contains(f.Message, "id-1") {
			t.Errorf("message %q does not hold the id", f.Message)
		}
		if st := f.Status("id-1"); strings.Contains(st.String()+fmt.Sprint(st.Details()...), "secret") {
			t.Errorf("the status tells more than the id: %v", st.Details())
		}
	}
	if f := Explain(&gateway.Error{Reason: gateway.BackendUnavailable, Message: "away", Err: errors.New("secret")}, ""); strings.Contains(f.Message, "secret") {
		t.Errorf("the cause is told: %q", f.Message)
	}
}

func TestTypedDetails(t *testing.T) {
	many := make([]policy.Verdict, 25)
	for i := range many {
		many[i] = policy.Verdict{Policy: "acme/base", Revision: 7, Rule: fmt.Sprintf("input[%d]", i), Action: policy.Block, Message: 1, Part: 2, Start: 3, End: 9}
	}
	f := Explain(&gateway.Error{Reason: gateway.InputBlocked, Message: "blocked", Verdicts: many}, "id-1")
	violation := detail[*weirv1.PolicyViolation](t, f)
	if violation.GetPolicy() != "acme/base" || violation.GetPolicyRevision() != 7 || violation.GetStage() != weirv1.Stage_STAGE_INPUT || len(violation.GetVerdicts()) != 10 {
		t.Errorf("PolicyViolation is %v", violation)
	}
	if v := violation.GetVerdicts()[0]; v.GetMessageIndex() != 1 || v.GetPartIndex() != 2 || v.CandidateIndex != nil || v.GetAction() != weirv1.Action_ACTION_BLOCK || v.GetStart() != 3 || v.GetEnd() != 9 || v.GetCount() != 1 {
		t.Errorf("verdict is %v", v)
	}
	if p := detail[*errdetails.PreconditionFailure](t, f); len(p.GetViolations()) != 1 || p.Violations[0].Subject != "acme/base" || p.Violations[0].Type != "CONTENT_POLICY" {
		t.Errorf("PreconditionFailure is %v", p)
	}

	f = Explain(&gateway.Error{Reason: gateway.BudgetExhausted, Message: "none left", Subject: "tenants/acme/budgets/cap"}, "id-1")
	if q := detail[*errdetails.QuotaFailure](t, f); len(q.GetViolations()) != 1 || q.Violations[0].Subject != "tenants/acme/budgets/cap" {
		t.Errorf("QuotaFailure is %v", q)
	}
	f = Explain(&gateway.Error{Reason: gateway.RateLimitExceeded, RetryAfter: 1500 * time.Millisecond}, "id-1")
	if r := detail[*errdetails.RetryInfo](t, f); r.GetRetryDelay().AsDuration() != 1500*time.Millisecond {
		t.Errorf("RetryInfo is %v", r)
	}
	f = Explain(&gateway.Error{Reason: gateway.ModelNotFound, Subject: "m1"}, "id-1")
	if r := detail[*errdetails.ResourceInfo](t, f); r.GetResourceType() != "weir.v1/Model" || r.GetResourceName() != "m1" {
		t.Errorf("ResourceInfo is %v", r)
	}
	f = Explain(&admin.InvalidError{Violations: []admin.Violation{
		{Source: "a.yaml", Problem: policy.Problem{Line: 3, Field: "limit", Message: "is no amount"}},
		{Source: "b.yaml", Problem: policy.Problem{Message: "is empty"}},
	}}, "id-1")
	bad := detail[*errdetails.BadRequest](t, f)
	if len(bad.GetFieldViolations()) != 2 || bad.FieldViolations[0].Field != "a.yaml:3: limit" || bad.FieldViolations[1].Field != "b.yaml" {
		t.Errorf("BadRequest is %v", bad)
	}
}

// Proxies drop headers above 8 KiB, and base64 makes four bytes of three.
func TestStatusFitsIntoAHeader(t *testing.T) {
	long := strings.Repeat("长", 5000)
	var fields []Field
	var verdicts []policy.Verdict
	for range 500 {
		fields = append(fields, Field{Path: "messages[0]", Description: "长 is not allowed here and has to go, since the rule says so", Rule: "STRING_PATTERN"})
		verdicts = append(verdicts, policy.Verdict{Policy: "acme/base", Guard: "lexicon", Rule: "input[1]", Category: "pii/email"})
	}
	for name, err := range map[string]error{
		"message":  &gateway.Error{Reason: gateway.InvalidRequest, Message: long},
		"fields":   &FieldsError{fields},
		"verdicts": &gateway.Error{Reason: gateway.InputBlocked, Message: long, Verdicts: verdicts},
	} {
		st := Explain(err, "id-1").Status("id-1")
		wire, err := proto.Marshal(st.Proto())
		if err != nil {
			t.Fatalf("%s: %v", name, err) // a text cut within a rune does not marshal
		}
		if len(wire)*4/3 > 7<<10 {
			t.Errorf("%s: %d bytes", name, len(wire))
		}
	}
}

func TestAbsentIsNotZero(t *testing.T) {
	if u := Usage(accounting.Usage{}, accounting.SourceProvider); u != nil {
		t.Errorf("unknown usage is told as %v", u)
	}
	var u accounting.Usage
	u.Set(accounting.Input, 7)
	u.Set(accounting.CacheRead, 0)
	w := Usage(u, accounting.SourceProvider)
	if w.GetInputTokens() != 7 || w.GetUncachedInputTokens() != 7 || w.CacheReadTokens == nil || w.OutputTokens != nil || w.ReasoningTokens != nil {
		t.Errorf("usage is told as %v", w)
	}
	if w.GetSource() != weirv1.QuantitySource_QUANTITY_SOURCE_PROVIDER {
		t.Errorf("source is told as %v", w.GetSource())
	}
	if Cost(nil) != nil {
		t.Error("an unknown cost is told")
	}
	free := Cost(&accounting.Cost{Charge: accounting.Money{Currency: "USD"}})
	if free.GetTotal() == nil || free.GetTotal().GetUnits() != 0 {
		t.Errorf("a free call is told as %v", free)
	}
}

func TestConversionsKnowEveryValue(t *testing.T) {
	for _, m := range accounting.Meters() {
		if meters[m] == "" {
			t.Errorf("meter %s has no name on the wire", m)
		}
	}
	for a := policy.Shadow; a <= policy.Block; a++ {
		if actions[a] == weirv1.Action_ACTION_UNSPECIFIED {
			t.Errorf("action %s has no value on the wire", a)
		}
	}
	for s := policy.Low; s <= policy.High; s++ {
		if severities[s] == weirv1.Severity_SEVERITY_UNSPECIFIED {
			t.Errorf("severity %s has no value on the wire", s)
		}
	}
	c := Cost(&accounting.Cost{
		Charge: accounting.Money{Currency: "USD", Nanos: -1_500_000_000}, PriceVersion: "v1",
		Items: []accounting.Item{{Meter: accounting.Output, Quantity: 3, Price: 2_500_000, Amount: accounting.Money{Currency: "USD", Nanos: 7500}}},
	})
	if c.GetTotal().GetUnits() != -1 || c.GetTotal().GetNanos() != -500_000_000 || c.GetLines()[0].GetMeter() != "text_output_tokens" || c.GetLines()[0].GetUnitPrice() != "0.0000025" {
		t.Errorf("cost is told as %v", c)
	}
	score := 0.5
	v := Verdict(policy.Verdict{Stage: policy.Output, Candidate: 1, Message: -1, Part: -1, Channel: policy.Content, Score: &score})
	if v.GetCandidateIndex() != 1 || v.MessageIndex != nil || v.PartIndex != nil || v.GetChannel() != "content" || v.GetScore() != 0.5 {
		t.Errorf("verdict is told as %v", v)
	}
}

func TestNewCall(t *testing.T) {
	member := auth.Caller{Tenant: "acme", Project: "default", Key: "k1", Role: auth.Member}
	ctx := WithTrail(auth.WithCaller(t.Context(), member), &Trail{RequestID: "id-1", ClientRequestID: "theirs"})
	call, err := NewCall(ctx, map[string][]string{
		"X-Weir-Label-Team": {"search"}, "x-weir-label-tier": {"gold"}, "x-weir-end-user": {"u1"}, "X-Weir-Session": {"s1"}, "x-other": {"y"},
	}, About{Labels: map[string]string{"team": "own"}, Session: "own"})
	if err != nil {
		t.Fatal(err)
	}
	if call.RequestID != "id-1" || call.ClientRequestID != "theirs" || call.Caller != member {
		t.Errorf("call is %+v", call)
	}
	if call.Labels["team"] != "own" || call.Labels["tier"] != "gold" || len(call.Labels) != 2 || call.EndUser != "u1" || call.Session != "own" {
		t.Errorf("what the request says must win, headers fill the rest: %+v", call)
	}

	for name, headers := range map[string]map[string][]string{
		"key of a label":   {"x-weir-label-9": {"v"}},
		"value of a label": {"x-weir-label-team": {strings.Repeat("长", 129)}},
		"no UTF-8":         {"x-weir-end-user": {"\xff"}},
		"long session":     {"x-weir-session": {strings.Repeat("s", 257)}},
	} {
		var fields *FieldsError
		if _, err := NewCall(ctx, headers, About{}); !errors.As(err, &fields) {
			t.Errorf("%s: %v", name, err)
		}
	}
	labels := map[string]string{}
	for i := range 32 {
		labels[fmt.Sprintf("l%d", i)] = "v"
	}
	if _, err := NewCall(ctx, nil, About{Labels: labels}); err != nil {
		t.Errorf("32 labels: %v", err)
	}
	if _, err := NewCall(ctx, map[string][]string{"x-weir-label-more": {"v"}}, About{Labels: labels}); err == nil {
		t.Error("33 labels pass")
	}
	if labels["more"] != "" {
		t.Error("the request's own labels were changed")
	}

	_, err = NewCall(auth.WithCaller(t.Context(), auth.Caller{Role: auth.Platform, Key: "admin"}), nil, About{})
	if f := Explain(err, ""); f.Reason != PermissionDenied || !strings.Contains(f.Message, "weir key create") {
		t.Errorf("the platform's key: %+v", f)
	}
	if _, err := NewCall(t.Context(), nil, About{}); Explain(err, "").Reason != Internal {
		t.Errorf("no caller: %v", err)
	}
}

func TestLoggedHasTheCause(t *testing.T) {
	cause := errors.New("no route to host")
	for _, err := range []error{
		&UnavailableError{"the ledger", cause},
		&gateway.Error{Reason: gateway.AccountingUnavailable, Message: "m", Err: cause},
	} {
		if !strings.Contains(Logged(err), "no route to host") {
			t.Errorf("logged is %q", Logged(err))
		}
	}
}

// What is written as W3C Baggage writes it is read as it was.
func TestLabelsOfAHeader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringN(0, maxLabelValue, -1).Filter(utf8.ValidString)
		want := rapid.MapOfN(rapid.StringMatching(`[a-z][a-z0-9_-]{0,62}`), value, 0, maxLabels).Draw(t, "labels")
		var pairs []string
		for key, value := range want {
			pairs = append(pairs, key+"="+strings.ReplaceAll(url.PathEscape(value), ",", "%2C"))
		}
		got, err := parseLabels(strings.Join(pairs, rapid.SampledFrom([]string{",", ", ", " ,,"}).Draw(t, "comma")))
		if err != nil || !maps.Equal(got, want) {
			t.Fatalf("%v: %q, not %q", err, got, want)
		}
	})
}
