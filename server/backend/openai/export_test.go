package openai

import (
	"crypto/x509"
	"net/http"
)

// Trust makes a test's own certificate good for a backend.
func Trust(b *Backend, roots *x509.CertPool) {
	b.client.HTTP.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
}
