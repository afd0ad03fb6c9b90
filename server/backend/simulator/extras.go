package simulator

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
)

// signer is who signs reasoning.
const signer = "simulator"

// mediaTokens is what one part that is no text counts, whatever is in it.
const mediaTokens = 256

// maxAlternatives is the most of a token.
const maxAlternatives = 20

// sign makes the signature of a text.
func sign(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// describe says what media a request has.
func describe(req *backend.Request) string {
	media := req.Media()
	said := make([]string, len(media))
	for i, m := range media {
		said[i] = fmt.Sprintf("%s %s of %d bytes", m.Modality, m.Type, len(m.Data))
		if m.URL != "" {
			said[i] = fmt.Sprintf("%s at %s", m.Modality, m.URL)
		}
	}
	return fmt.Sprintf("%d media: %s", len(media), strings.Join(said, "; "))
}

// logprobs makes up how probable a token was, and so many others in its place.
func logprobs(c *chance, token string, alternatives int) []backend.Logprob {
	l := backend.Logprob{Token: token, Logprob: -c.share()}
	for i := range alternatives {
		other := backend.Logprob{Token: token, Logprob: l.Logprob}
		if i > 0 {
			other = backend.Logprob{Token: fmt.Sprintf(" other%d", i), Logprob: -1 - float64(i)}
		}
		l.Alternatives = append(l.Alternatives, other)
	}
	return []backend.Logprob{l}
}

func alternatives() *int {
	n := maxAlternatives
	return &n
}
