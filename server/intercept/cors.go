package intercept

import (
	"net/http"
	"slices"
	"strings"
)

// exposed are the headers of answers that pages may read, beside those that
// browsers always let them.
var exposed = strings.Join([]string{
	"grpc-status", "grpc-message", "grpc-status-details-bin", "retry-after", "retry-after-ms", "x-should-retry",
	"x-request-id", RequestIDHeader, "x-weir-cost", "x-weir-cost-currency", "x-weir-cache", "age",
}, ", ")

// CORS lets pages of some origins, such as https://app.example.org, call what
// is behind it; "*" is all of them. Browsers keep pages of other origins from
// it. It lets no cookie through: there are none, and the key is in a header.
func CORS(origins []string, next http.Handler) http.Handler {
	if len(origins) == 0 {
		return next
	}
	all := slices.Contains(origins, "*")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin, h := r.Header.Get("Origin"), w.Header()
		h.Add("Vary", "Origin")
		if origin == "" || !all && !slices.Contains(origins, origin) {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Origin", origin)
		if method := r.Header.Get("Access-Control-Request-Method"); r.Method == http.MethodOptions && method != "" {
			h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
			h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
			h.Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
			h.Set("Access-Control-Max-Age", "7200")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.Set("Access-Control-Expose-Headers", exposed)
		next.ServeHTTP(w, r)
	})
}
