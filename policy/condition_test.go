package policy_test

import (
	"strings"
	"testing"

	"github.com/weir-gateway/weir/policy"
)

func TestTargetConditions(t *testing.T) {
	facts := &policy.Facts{
		Subject: policy.Subject{Tenant: "acme", Project: "搜索", Key: "k1", Model: "m", Labels: map[string]string{"tier": "gold", "region": "eu"}},
		Region:  "eu", Tags: []string{"private", "gpu"},
		Price: func() (policy.Price, bool) { return policy.Price{Input: 2.5, Output: 10, Currency: "USD"}, true },
	}
	for _, c := range []struct {
		text  string
		want  bool
		fails bool
	}{
		{text: `caller.tenant == "acme"`, want: true},
		{text: `caller.project == "搜索" && caller.key != "k2"`, want: true},
		{text: `labels.tier == "gold"`, want: true},
		{text: `labels.region == region`, want: true},
		{text: `"private" in tags && model.startsWith("x")`},
		{text: `!("team" in labels) || labels.team == "search"`, want: true},
		{text: `price.input < 3 && price.output <= 10.0 && price.currency == "USD"`, want: true},
		{text: `price.input + price.output < 12`},
		{text: `labels.team == "search"`, fails: true}, // there is no such label
		{text: `[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, a+b+c+d > 0))))`, fails: true}, // too dear
	} {
		condition, err := policy.NewTargetCondition(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got, err := condition.Holds(facts); got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %v, %v", c.text, got, err)
		}
	}
	for text, want := range map[string]string{
		`caller.tenat == "a"`: `character 1: undeclared reference to 'caller' (known: caller.key, caller.project, caller.tenant, labels, model, price.currency, price.input, price.output, region, tags)`,
		`labels.tier == `:     `character 16: `,
		`model`:               `want a condition that is true or false, got one of type string`,
		`verdict.has("pii")`:  `undeclared reference to 'verdict'`,
		`model == 1`:          `character 7: found no matching overload for '_==_'`,
	} {
		if _, err := policy.NewTargetCondition(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v\nwant %s", text, err, want)
		}
	}
}

// What nobody knows is not cheap: the condition fails, and does not hold.
func TestAPriceThatNobodyKnows(t *testing.T) {
	condition, err := policy.NewTargetCondition(`price.input < 100 || price.input >= 100`)
	if err != nil {
		t.Fatal(err)
	}
	for _, facts := range []policy.Facts{{}, {Price: func() (policy.Price, bool) { return policy.Price{}, false }}} {
		if holds, err := condition.Holds(&facts); holds || err == nil {
			t.Errorf("%v, %v", holds, err)
		}
	}
}

func TestRestrictions(t *testing.T) {
	d, err := policy.ParseDocument(parse(t, `
kind: Policy
name: base
tenant: acme
routing:
  - {when: "verdict.has('pii')", only: private}
  - {when: "verdict.has('pii/cn_resident_id')", only: onshore}
  - {when: "labels.secret == 'yes'", only: vault}
`))
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile(1, []policy.Document{d}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]string{"secret": "no"}
	for _, c := range []struct {
		name   string
		labels map[string]string
		found  []policy.Verdict
		want   string
	}{
		{"nothing", open, nil, ""},
		{"another category", open, []policy.Verdict{{Action: policy.Flag, Category: "piicture"}}, ""},
		{"below", open, []policy.Verdict{{Action: policy.Flag, Category: "pii/email"}}, "private"},
		{"both", open, []policy.Verdict{{Action: policy.Redact, Category: "pii/cn_resident_id"}}, "private onshore"},
		{"shadow changes nothing", open, []policy.Verdict{{Action: policy.Shadow, Category: "pii/cn_resident_id"}}, ""},
		{"a condition that fails holds", nil, nil, "vault"},
	} {
		var only []string
		for _, n := range set.Resolve(policy.Subject{Tenant: "acme"}).Narrow(policy.Subject{Tenant: "acme", Labels: c.labels}, c.found) {
			if n.Policy != "acme/base" {
				t.Errorf("%s: %+v", c.name, n)
			}
			only = append(only, n.Only)
		}
		if got := strings.Join(only, " "); got != c.want {
			t.Errorf("%s: only %q, want %q", c.name, got, c.want)
		}
	}
	if got := set.Resolve(policy.Subject{Tenant: "other"}).Narrow(policy.Subject{Tenant: "other"}, nil); got != nil {
		t.Errorf("another tenant is narrowed: %+v", got)
	}
}

func TestAWrongRestrictionNamesLineAndField(t *testing.T) {
	for text, want := range map[string]string{
		"kind: Policy\nname: a\nrouting:\n  - when: verdict.hass('pii')\n    only: private": "line 4: routing[0].when: character 13: undeclared reference to 'hass'",
		"kind: Policy\nname: a\nrouting:\n  - {when: true}":                                 "line 4: routing[0].only: is missing",
		"kind: Policy\nname: a\nrouting:\n  - {when: true, only: a, region: b}":             "line 4: routing[0].region: unknown field",
	} {
		if _, err := policy.ParseDocument(parse(t, text)); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}
