package weir

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// What administers is there as REST too.
func TestAdministrationOverREST(t *testing.T) {
	h := withRoles(t, moreDocuments)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/weir/v1/tenants", "", 200, `"tenants/acme"`},
		{"GET", "/weir/v1/tenants/acme", "", 200, `"tenants/acme"`},
		{"GET", "/weir/v1/tenants/acme/projects", "", 200, `"tenants/acme/projects/default"`},
		{"GET", "/weir/v1/tenants/acme/projects/default", "", 200, `"tenants/acme/projects/default"`},
		{"GET", "/weir/v1/tenants/acme/projects/-/keys?pageSize=1", "", 200, `"nextPageToken"`},
		{"GET", "/weir/v1/tenants/acme/projects/default/keys/member", "", 200, `"KEY_ROLE_MEMBER"`},
		{"POST", "/weir/v1/tenants/acme/projects/default/keys/member:rotate", `{"overlap": "60s"}`, 200, `"secret"`},
		{"POST", "/weir/v1/tenants/acme/projects/default/keys/member:revoke", `{}`, 200, `"revokeTime"`},
		{"GET", "/weir/v1/tenants/acme/policies", "", 200, `"tenants/acme/policies/base"`},
		{"GET", "/weir/v1/tenants/acme/policies/base", "", 200, "test/input"},
		{"GET", "/weir/v1/policies/floor", "", 404, "RESOURCE_NOT_FOUND"},
		{"POST", "/weir/v1/policies:explain", `{"model": "sim"}`, 200, `"holdBackBytes"`},
		{"DELETE", "/weir/v1/tenants/acme/policies/mail?etag=zz", "", 409, "RESOURCE_CHANGED"},
		{"DELETE", "/weir/v1/tenants/acme/policies/mail", "", 200, `"revision"`},
		{"GET", "/weir/v1/models", "", 200, `"models/sim"`},
		{"GET", "/weir/v1/models/sim", "", 200, `"sim@2026-01-01"`},
		{"GET", "/weir/v1/tenants/-/auditEvents", "", 200, `"revoke"`},
		{"POST", "/weir/v1/tokens:count", `{"model": "sim", "messages": [{"role": "ROLE_USER", "parts": [{"text": "hi"}]}]}`, 200, `"TOKEN_COUNT_TOKENIZER"`},
		{"POST", "/weir/v1/moderate", `{"texts": ["违禁"]}`, 200, `"ACTION_BLOCK"`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, h.web.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+h.secrets["admin"])
		answer, err := h.web.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != c.status || !strings.Contains(string(said), c.want) {
			t.Errorf("%s %s: %d %s %v", c.method, c.path, answer.StatusCode, said, err)
		}
	}
}
