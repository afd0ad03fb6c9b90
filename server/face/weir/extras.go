package weir

import (
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/face"
)

var efforts = map[weirv1.ReasoningEffort]backend.Effort{
	weirv1.ReasoningEffort_REASONING_EFFORT_NONE:    backend.EffortNone,
	weirv1.ReasoningEffort_REASONING_EFFORT_MINIMAL: backend.EffortMinimal,
	weirv1.ReasoningEffort_REASONING_EFFORT_LOW:     backend.EffortLow,
	weirv1.ReasoningEffort_REASONING_EFFORT_MEDIUM:  backend.EffortMedium,
	weirv1.ReasoningEffort_REASONING_EFFORT_HIGH:    backend.EffortHigh,
	weirv1.ReasoningEffort_REASONING_EFFORT_MAX:     backend.EffortMax,
}

var modalities = map[weirv1.Modality]backend.Modality{
	weirv1.Modality_MODALITY_IMAGE: backend.Image,
	weirv1.Modality_MODALITY_AUDIO: backend.Audio,
	weirv1.Modality_MODALITY_VIDEO: backend.Video,
	weirv1.Modality_MODALITY_FILE:  backend.File,
}

var details = map[weirv1.MediaDetail]backend.Detail{
	weirv1.MediaDetail_MEDIA_DETAIL_LOW:  backend.DetailLow,
	weirv1.MediaDetail_MEDIA_DETAIL_HIGH: backend.DetailHigh,
}

// extras reads the parameters that not every backend has.
func extras(config *weirv1.GenerationConfig, out *backend.Request) error {
	if r := config.GetReasoning(); r != nil && (r.GetEffort() != 0 || r.BudgetTokens != nil) {
		out.Reasoning = &backend.ReasoningWish{Effort: efforts[r.GetEffort()], Budget: int(r.GetBudgetTokens())}
	}
	if l := config.GetLogprobs(); l != nil {
		n := int(l.GetAlternatives())
		out.Logprobs = &n
	}
	for _, m := range config.GetResponseModalities() {
		out.Modalities = append(out.Modalities, modalities[m])
	}
	out.Voice = config.GetVoice()
	out.ServiceClass = face.AskedClass(config.GetServiceClass())
	out.CacheKey, out.DropUnsupported = config.GetCacheKey(), config.GetDropUnsupported()
	for vendor, options := range config.GetVendorOptions() {
		if out.Vendor == nil {
			out.Vendor = backend.VendorOptions{}
		}
		object, err := json.Marshal(options.AsMap())
		if err != nil {
			return face.Invalid("config.vendor_options", "those of %s are no JSON: %v", vendor, err)
		}
		out.Vendor[vendor] = object
	}
	return nil
}

// partsOf reads a part: one, and for what a tool answered that is no text one
// more each.
func partsOf(p *weirv1.Part, at string) ([]backend.Part, error) {
	first := part(p)
	first.Cache = cacheHint(p.GetCacheHint())
	if s := p.GetSignature(); s != nil {
		first.Signature = &backend.Signature{Signer: s.GetSigner(), Data: s.GetData(), Hidden: s.GetHidden()}
		if s.GetHidden() && first.Text != "" {
			return nil, face.Invalid(at+".signature", "a hidden signature is the part itself: leave the text empty")
		}
	}
	if m := p.GetMedia(); m != nil {
		var err error
		first.Media, err = media(m, at+".media")
		return []backend.Part{first}, err
	}
	all := []backend.Part{first}
	for _, m := range p.GetToolResult().GetMedia() {
		more := backend.Part{Channel: backend.Result, CallID: first.CallID, Tool: first.Tool, Failed: first.Failed}
		var err error
		if more.Media, err = media(m, at+".tool_result.media"); err != nil {
			return nil, err
		}
		all = append(all, more)
	}
	return all, nil
}

func media(m *weirv1.Media, at string) (*backend.Media, error) {
	if len(m.GetData()) > 0 && m.GetMediaType() == "" {
		return nil, face.Invalid(at+".media_type", "missing: say what the bytes are, such as image/png")
	}
	return &backend.Media{
		Modality: modalities[m.GetModality()], Type: m.GetMediaType(), Data: m.GetData(), URL: m.GetUrl(),
		Name: m.GetName(), Detail: details[m.GetDetail()],
	}, nil
}

// shown is media of an answer.
func shown(m *backend.Media) *weirv1.Media {
	out := &weirv1.Media{MediaType: m.Type, Name: m.Name}
	for wire, neutral := range modalities {
		if neutral == m.Modality {
			out.Modality = wire
		}
	}
	if m.URL != "" {
		out.Source = &weirv1.Media_Url{Url: m.URL}
	} else {
		out.Source = &weirv1.Media_Data{Data: m.Data}
	}
	return out
}

func cacheHint(h *weirv1.CacheHint) *backend.CacheHint {
	if h == nil {
		return nil
	}
	return &backend.CacheHint{TTL: h.GetTtl().AsDuration()}
}

func signature(s *backend.Signature) *weirv1.Signature {
	if s == nil {
		return nil
	}
	return &weirv1.Signature{Signer: s.Signer, Data: s.Data, Hidden: s.Hidden}
}

func logprobs(all []backend.Logprob) []*weirv1.TokenLogprob {
	if len(all) == 0 {
		return nil
	}
	out := make([]*weirv1.TokenLogprob, len(all))
	for i, l := range all {
		out[i] = &weirv1.TokenLogprob{Token: l.Token, TokenBytes: l.Bytes, Logprob: l.Logprob, Alternatives: logprobs(l.Alternatives)}
	}
	return out
}

// vendorExtras are what an answer has beside. What no Struct can hold is left out.
func vendorExtras(all backend.VendorExtras) (out map[string]*structpb.Struct) {
	for vendor, object := range all {
		s := new(structpb.Struct)
		if protojson.Unmarshal(object, s) != nil {
			continue
		}
		if out == nil {
			out = map[string]*structpb.Struct{}
		}
		out[vendor] = s
	}
	return out
}
