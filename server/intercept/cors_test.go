package intercept

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPagesOfSomeOrigins(t *testing.T) {
	const app, stranger = "https://app.example.org", "https://evil.example.org"
	for _, c := range []struct {
		name, origin string
		origins      []string
		preflight    bool
		allowed      string
		reached      bool
	}{
		{"off by default", app, nil, true, "", true},
		{"asks first", app, []string{app}, true, app, false},
		{"calls", app, []string{app}, false, app, true},
		{"a stranger asks", stranger, []string{app}, true, "", true},
		{"a stranger calls", stranger, []string{app}, false, "", true},
		{"all, asks", stranger, []string{"*"}, true, stranger, false},
		{"no page", "", []string{app}, false, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			reached := false
			handler := CORS(c.origins, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
			r := httptest.NewRequest(http.MethodPost, "/weir/v1/generate", nil)
			if c.preflight {
				r.Method = http.MethodOptions
				r.Header.Set("Access-Control-Request-Method", "POST")
				r.Header.Set("Access-Control-Request-Headers", "authorization,content-type,connect-protocol-version")
			}
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			h := w.Header()
			if h.Get("Access-Control-Allow-Origin") != c.allowed || reached != c.reached || h.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("reached %v, %v", reached, h)
			}
			if len(c.origins) > 0 && h.Get("Vary") != "Origin" {
				t.Errorf("caches may mix origins up: %v", h)
			}
			if c.allowed == "" {
				return
			}
			if c.preflight && (w.Code != http.StatusNoContent || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "authorization") || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST")) {
				t.Errorf("%d %v", w.Code, h)
			}
			if !c.preflight && !strings.Contains(h.Get("Access-Control-Expose-Headers"), "x-weir-request-id") {
				t.Errorf("%v", h)
			}
		})
	}
}
