package weir

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	statusv1 "google.golang.org/genproto/googleapis/rpc/status"
)

// What a query says is heard, or refused by its name.
func TestQueriesOverREST(t *testing.T) {
	h := withRoles(t, moreDocuments)
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/weir/v1/tenants?pageSize=1", "", "OK"},
		{"GET", "/weir/v1/tenants?page_size=1", "", "OK"},
		{"GET", "/weir/v1/models/sim?", "", "OK"},
		{"GET", "/weir/v1/models/a/b:c?x=1", "", "InvalidArgument INVALID_REQUEST x="},
		{"GET", "/weir/v1/tenants?pagesize=1", "", "InvalidArgument INVALID_REQUEST pagesize="},
		{"GET", "/weir/v1/tenants?pageSize=1&z=2&a=3", "", "InvalidArgument INVALID_REQUEST a= z="},
		{"GET", "/weir/v1/tenants?pageSize=-1", "", "InvalidArgument INVALID_REQUEST page_size=INT32_GTE"},
		{"GET", "/weir/v1/tenants/acme/policies?parent=tenants/other", "", "InvalidArgument INVALID_REQUEST parent="},
		{"GET", "/weir/v1/policies?parent=tenants/acme", "", "OK"},
		{"GET", "/weir/v1/tenants/acme/outputs?filter.model=sim&filter.hasVerdict=false", "", "OK"},
		{"GET", "/weir/v1/tenants/acme/outputs?readMask=name,startTime", "", "OK"},
		{"GET", "/weir/v1/tenants/acme/outputs?readMask=colour", "", "InvalidArgument INVALID_REQUEST read_mask="},
		{"GET", "/weir/v1/tenants/acme/outputs?filter.colour=red", "", "InvalidArgument INVALID_REQUEST filter.colour="},
		{"GET", "/weir/v1/tenants/acme/outputs?pageSize.x=red", "", "InvalidArgument INVALID_REQUEST pageSize.x="},
		{"DELETE", "/weir/v1/tenants/acme/policies/mail?Etag=zz", "", "InvalidArgument INVALID_REQUEST Etag="},
		{"POST", "/weir/v1/moderate?model=sim", `{"texts": ["hi"]}`, "InvalidArgument INVALID_REQUEST model="},
		{"POST", "/weir/v1/tenants/acme/projects/default/keys?keyId=k9&key.role=KEY_ROLE_ADMIN", `{"role": "KEY_ROLE_MEMBER"}`, "InvalidArgument INVALID_REQUEST key.role="},
		{"POST", "/weir/v1/tenants/acme/projects/default/keys?keyId=k9", `{"role": "KEY_ROLE_MEMBER"}`, "OK"},
		{"POST", "/weir/v1/nothing?x=1", "", "Unimplemented"},
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
		if err != nil {
			t.Fatal(err)
		}
		got := "OK"
		if answer.StatusCode != http.StatusOK {
			var told statusv1.Status
			if err := protojson.Unmarshal(said, &told); err != nil {
				t.Fatalf("%s %s: %s: %v", c.method, c.path, said, err)
			}
			got = failure(status.ErrorProto(&told))
		}
		if got != c.want || answer.Header.Get("x-weir-request-id") == "" {
			t.Errorf("%s %s: %s, want %s: %s", c.method, c.path, got, c.want, said)
		}
	}
}
