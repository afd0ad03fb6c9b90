package openai

import (
	"fmt"
	"regexp"
	"unicode/utf8"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/gateway"
)

var efforts = map[string]backend.Effort{
	"none": backend.EffortNone, "minimal": backend.EffortMinimal, "low": backend.EffortLow,
	"medium": backend.EffortMedium, "high": backend.EffortHigh, "xhigh": backend.EffortMax, "max": backend.EffortMax,
}

// The bounds of weir.v1.
const (
	maxAlternatives = 20
	maxCacheKey     = 256
	maxVendors      = 8
)

var vendorName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// extras reads the parameters that not every model has.
func (in *chatRequest) extras(out *backend.Request) error {
	if in.ReasoningEffort != "" {
		effort, known := efforts[in.ReasoningEffort]
		if !known {
			return face.Invalid("reasoning_effort", "must be none, minimal, low, medium, high, xhigh or max")
		}
		out.Reasoning = &backend.ReasoningWish{Effort: effort}
	}
	switch n := in.TopLogprobs; {
	case n != nil && (*n < 0 || *n > maxAlternatives):
		return face.Invalid("top_logprobs", "must be from 0 to %d", maxAlternatives)
	case n != nil && *n > 0 && !in.Logprobs:
		return face.Invalid("top_logprobs", "goes with logprobs alone: set that to true")
	case in.Logprobs:
		out.Logprobs = new(int)
		if n != nil {
			*out.Logprobs = int(*n)
		}
	}
	if utf8.RuneCountInString(in.PromptCacheKey) > maxCacheKey {
		return face.Invalid("prompt_cache_key", "must have at most %d characters", maxCacheKey)
	}
	out.CacheKey = in.PromptCacheKey
	if err := in.options(out); err != nil {
		return err
	}
	return in.class(out)
}

// options reads what one kind of backend alone knows.
func (in *chatRequest) options(out *backend.Request) error {
	if len(in.VendorOptions) > maxVendors {
		return face.Invalid("vendor_options", "must be of at most %d vendors", maxVendors)
	}
	for vendor, options := range in.VendorOptions {
		switch {
		case !vendorName.MatchString(vendor):
			return face.Invalid("vendor_options", "has a vendor that is none: write the kind of a backend, such as openai")
		case read(options) == nil:
			return face.Invalid("vendor_options."+vendor, "must be an object")
		}
		if out.Vendor == nil {
			out.Vendor = backend.VendorOptions{}
		}
		out.Vendor[vendor] = options
	}
	return nil
}

// detail is a piece of reasoning with what signs it, in the form that OpenAI's
// API has no word for and others of its kind have: text or encrypted, by format,
// which is whose it is.
type detail struct {
	Type      string `json:"type"` // reasoning.text or reasoning.encrypted
	Text      string `json:"text,omitempty"`
	Signature string `json:"signature,omitempty"`
	Data      string `json:"data,omitempty"`
	Format    string `json:"format,omitempty"`
	Index     int    `json:"index"`
}

// The bounds of weir.v1.
var (
	signatureSigner = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	signatureData   = regexp.MustCompile(`^[A-Za-z0-9+/=_.:-]+$`)
)

const maxSignature = 1 << 20

// reasoning is that of an earlier turn, by its details.
func (m *chatMessage) reasoning(at string) ([]backend.Part, error) {
	var out []backend.Part
	for i, d := range m.ReasoningDetails {
		at := fmt.Sprintf("%s.reasoning_details[%d]", at, i)
		part := backend.Part{Channel: backend.Reasoning, Text: d.Text}
		data := d.Signature
		switch d.Type {
		case "reasoning.text":
		case "reasoning.encrypted":
			data, part.Text = d.Data, ""
		default:
			return nil, face.Invalid(at+".type", "must be reasoning.text or reasoning.encrypted")
		}
		if data != "" {
			if !signatureSigner.MatchString(d.Format) || !signatureData.MatchString(data) || len(data) > maxSignature {
				return nil, face.Invalid(at, "send the details of reasoning as they were got, format and signature among them")
			}
			part.Signature = &backend.Signature{Signer: d.Format, Data: data, Hidden: d.Type == "reasoning.encrypted"}
		}
		out = append(out, part)
	}
	return out, nil
}

// detailsOf are the signed parts of reasoning; nil where nothing is signed.
func detailsOf(parts []backend.Part) []detail {
	var out []detail
	signed := false
	for _, p := range parts {
		if p.Channel != backend.Reasoning {
			continue
		}
		signed = signed || p.Signature != nil
		out = append(out, detailOf(p.Text, p.Signature, len(out)))
	}
	if !signed {
		return nil
	}
	return out
}

func detailOf(text string, s *backend.Signature, index int) detail {
	switch {
	case s == nil:
		return detail{Type: "reasoning.text", Text: text, Index: index}
	case s.Hidden:
		return detail{Type: "reasoning.encrypted", Data: s.Data, Format: s.Signer, Index: index}
	}
	return detail{Type: "reasoning.text", Text: text, Signature: s.Data, Format: s.Signer, Index: index}
}

type logprobs struct {
	Content []logprob `json:"content"`
	Refusal []logprob `json:"refusal"`
}

type logprob struct {
	Token       string    `json:"token"`
	Logprob     float64   `json:"logprob"`
	Bytes       []int     `json:"bytes"`
	TopLogprobs []logprob `json:"top_logprobs"`
}

func logprobsOf(all []backend.Logprob) []logprob {
	out := make([]logprob, len(all))
	for i, l := range all {
		bytes := l.Bytes
		if bytes == nil {
			bytes = []byte(l.Token)
		}
		out[i] = logprob{Token: l.Token, Logprob: l.Logprob, Bytes: make([]int, len(bytes)), TopLogprobs: logprobsOf(l.Alternatives)}
		for j, b := range bytes {
			out[i].Bytes[j] = int(b)
		}
	}
	return out
}

// add appends those of a channel; nil stays nil where there are none.
func (l *logprobs) add(channel backend.Channel, all []backend.Logprob) *logprobs {
	if len(all) == 0 {
		return l
	}
	if l == nil {
		l = &logprobs{}
	}
	if channel == backend.Refusal {
		l.Refusal = append(l.Refusal, logprobsOf(all)...)
	} else {
		l.Content = append(l.Content, logprobsOf(all)...)
	}
	return l
}

// warning has the names of weir.v1.Warning.
type warning struct {
	Code           string `json:"code"`
	Message        string `json:"message"`
	Field          string `json:"field,omitempty"`
	CandidateIndex *int   `json:"candidate_index,omitempty"`
}

func warningsOf(all []gateway.Warning) []warning {
	var out []warning
	for i, w := range all {
		told := warning{Code: string(w.Code), Message: w.Message, Field: w.Field}
		if w.Candidate >= 0 {
			told.CandidateIndex = &all[i].Candidate
		}
		out = append(out, told)
	}
	return out
}
