package weir

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weir-gateway/weir/accounting"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
)

var efforts = map[backend.Effort]weirv1.ReasoningEffort{
	backend.EffortNone:    weirv1.ReasoningEffort_REASONING_EFFORT_NONE,
	backend.EffortMinimal: weirv1.ReasoningEffort_REASONING_EFFORT_MINIMAL,
	backend.EffortLow:     weirv1.ReasoningEffort_REASONING_EFFORT_LOW,
	backend.EffortMedium:  weirv1.ReasoningEffort_REASONING_EFFORT_MEDIUM,
	backend.EffortHigh:    weirv1.ReasoningEffort_REASONING_EFFORT_HIGH,
	backend.EffortMax:     weirv1.ReasoningEffort_REASONING_EFFORT_MAX,
}

var classes = map[accounting.ServiceClass]weirv1.ServiceClass{
	accounting.ServiceStandard: weirv1.ServiceClass_SERVICE_CLASS_STANDARD,
	accounting.ServiceFlex:     weirv1.ServiceClass_SERVICE_CLASS_FLEX,
	accounting.ServicePriority: weirv1.ServiceClass_SERVICE_CLASS_PRIORITY,
	accounting.ServiceScale:    weirv1.ServiceClass_SERVICE_CLASS_SCALE,
	accounting.ServiceBatch:    weirv1.ServiceClass_SERVICE_CLASS_BATCH,
	accounting.ServiceOther:    weirv1.ServiceClass_SERVICE_CLASS_OTHER,
}

// servedClass is the class that a server says has served. One that a later
// version has is another one.
func servedClass(c weirv1.ServiceClass) accounting.ServiceClass {
	for ours, theirs := range classes {
		if theirs == c {
			return ours
		}
	}
	if c == weirv1.ServiceClass_SERVICE_CLASS_UNSPECIFIED {
		return ""
	}
	return accounting.ServiceOther
}

var modalities = map[backend.Modality]weirv1.Modality{
	backend.Image: weirv1.Modality_MODALITY_IMAGE,
	backend.Audio: weirv1.Modality_MODALITY_AUDIO,
	backend.Video: weirv1.Modality_MODALITY_VIDEO,
	backend.File:  weirv1.Modality_MODALITY_FILE,
}

var details = map[backend.Detail]weirv1.MediaDetail{
	backend.DetailLow:  weirv1.MediaDetail_MEDIA_DETAIL_LOW,
	backend.DetailHigh: weirv1.MediaDetail_MEDIA_DETAIL_HIGH,
}

func encodeExtras(req *backend.Request, to *weirv1.GenerationConfig) error {
	if r := req.Reasoning; r != nil {
		to.Reasoning = &weirv1.ReasoningConfig{Effort: efforts[r.Effort]}
		if r.Budget > 0 {
			to.Reasoning.BudgetTokens = narrow(&r.Budget)
		}
	}
	if req.Logprobs != nil {
		to.Logprobs = &weirv1.LogprobsConfig{Alternatives: *narrow(req.Logprobs)}
	}
	for _, m := range req.Modalities {
		to.ResponseModalities = append(to.ResponseModalities, modalities[m])
	}
	to.Voice = req.Voice
	to.ServiceClass = classes[req.ServiceClass]
	to.CacheKey, to.DropUnsupported = req.CacheKey, req.DropUnsupported
	for vendor, options := range req.Vendor {
		object := new(structpb.Struct)
		if err := protojson.Unmarshal(options, object); err != nil {
			return fmt.Errorf("options of vendor %q are no JSON object", vendor)
		}
		if to.VendorOptions == nil {
			to.VendorOptions = map[string]*structpb.Struct{}
		}
		to.VendorOptions[vendor] = object
	}
	return nil
}

func encodeCache(h *backend.CacheHint) *weirv1.CacheHint {
	switch {
	case h == nil:
		return nil
	case h.TTL == 0:
		return &weirv1.CacheHint{}
	}
	return &weirv1.CacheHint{Ttl: durationpb.New(h.TTL)}
}

func encodeMedia(m *backend.Media) *weirv1.Media {
	out := &weirv1.Media{Modality: modalities[m.Modality], MediaType: m.Type, Name: m.Name, Detail: details[m.Detail]}
	if m.URL != "" {
		out.Source = &weirv1.Media_Url{Url: m.URL}
	} else {
		out.Source = &weirv1.Media_Data{Data: m.Data}
	}
	return out
}

// neutralMedia is a part of an answer; nil where there is none of a kind that is
// known here.
func neutralMedia(m *weirv1.Media) *backend.Media {
	for neutral, wire := range modalities {
		if wire == m.GetModality() {
			return &backend.Media{Modality: neutral, Type: m.GetMediaType(), Data: m.GetData(), URL: m.GetUrl(), Name: m.GetName()}
		}
	}
	return nil
}

// joins puts a part of a result that goes on into the one before, and tells
// whether it does.
func joins(before *weirv1.Part, p backend.Part) bool {
	result := before.GetToolResult()
	if result == nil || p.Channel != backend.Result || result.GetToolCallId() != p.CallID {
		return false
	}
	result.Text += p.Text
	if p.Media != nil {
		result.Media = append(result.Media, encodeMedia(p.Media))
	}
	return true
}

func neutralLogprobs(from []*weirv1.TokenLogprob) []backend.Logprob {
	if len(from) == 0 {
		return nil
	}
	all := make([]backend.Logprob, len(from))
	for i, l := range from {
		all[i] = backend.Logprob{Token: l.GetToken(), Logprob: l.GetLogprob(), Alternatives: neutralLogprobs(l.GetAlternatives())}
		if len(l.GetTokenBytes()) > 0 {
			all[i].Bytes = l.GetTokenBytes()
		}
	}
	return all
}

// neutralExtras are what the other Weir passes on. What is too large is left out.
func neutralExtras(from map[string]*structpb.Struct) (all backend.VendorExtras) {
	size := 0
	for vendor, s := range from {
		object, err := protojson.Marshal(s)
		if size += len(vendor) + len(object); err != nil || size > backend.MaxExtras {
			return nil
		}
		if all == nil {
			all = backend.VendorExtras{}
		}
		all[vendor] = object
	}
	return all
}
