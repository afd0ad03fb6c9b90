package gateway

import (
	"fmt"
	"slices"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
)

// fitMore checks what fit does not: media, reasoning, log probabilities and the
// choice of tools.
func (a *attempt) fitMore(req *backend.Request, can backend.Capabilities) error {
	model := a.call.Model
	switch r := req.Reasoning; {
	case r == nil:
	case !can.Reasoning:
		return unsupported("config.reasoning", fmt.Sprintf("model %q cannot be told how much to reason", model))
	case r.Effort == "" && !can.ReasoningBudget:
		return unsupported("config.reasoning.budget_tokens", fmt.Sprintf("model %q cannot be told how much to reason in tokens: send an effort", model))
	}
	switch {
	case req.Logprobs == nil:
	case can.Logprobs == nil:
		return unsupported("config.logprobs", fmt.Sprintf("model %q gives no log probabilities", model))
	case *req.Logprobs > *can.Logprobs:
		return unsupported("config.logprobs.alternatives", fmt.Sprintf("model %q gives at most %d alternatives of a token", model, *can.Logprobs))
	}
	if c := req.Choice; c != nil && len(req.Tools) > 0 && can.ToolChoices != nil && !slices.Contains(can.ToolChoices, c.Mode) {
		return unsupported("tool_choice", fmt.Sprintf("model %q cannot be held to the choice of tools %q", model, c.Mode))
	}
	for _, m := range req.Modalities {
		if _, gives := can.MediaOutput[m]; !gives {
			return unsupported("config.response_modalities", fmt.Sprintf("model %q answers with no %s", model, m))
		}
	}
	return takesMedia(model, req, can)
}

// takesMedia checks that a target takes what of a request is no text.
func takesMedia(model string, req *backend.Request, can backend.Capabilities) error {
	for i, m := range req.Messages {
		for j, p := range m.Parts {
			if p.Media == nil {
				continue
			}
			field := fmt.Sprintf("messages[%d].parts[%d]", i, j)
			_, takes := can.Media[p.Media.Modality]
			switch {
			case !takes:
				return unsupported(field, fmt.Sprintf("model %q takes no %s", model, p.Media.Modality))
			case p.Channel == backend.Result && !can.ResultMedia:
				return unsupported(field, fmt.Sprintf("model %q takes results of tools as text alone", model))
			case p.Media.URL != "" && !slices.Contains(can.MediaURLs, p.Media.Modality):
				return unsupported(field, fmt.Sprintf("model %q does not fetch %s from an address: send the bytes", model, p.Media.Modality))
			}
		}
	}
	return nil
}

// drop leaves out what the target does not know, and notes it.
func (a *attempt) drop(req *backend.Request, can backend.Capabilities) {
	left := func(field string) {
		a.dropped = append(a.dropped, Warning{
			Code: ParameterDropped, Field: field, Candidate: -1,
			Message: fmt.Sprintf("the model does not know %s: it was left out", field),
		})
	}
	if req.Seed != nil && !can.Seed {
		req.Seed = nil
		left("config.seed")
	}
	if req.TopK != nil && !can.TopK {
		req.TopK = nil
		left("config.top_k")
	}
	if req.FrequencyPenalty != nil && !can.Penalties {
		req.FrequencyPenalty = nil
		left("config.frequency_penalty")
	}
	if req.PresencePenalty != nil && !can.Penalties {
		req.PresencePenalty = nil
		left("config.presence_penalty")
	}
	if r := req.Reasoning; r != nil && (!can.Reasoning || r.Effort == "" && !can.ReasoningBudget) {
		req.Reasoning = nil
		left("config.reasoning")
	}
	if req.Logprobs != nil && can.Logprobs == nil {
		req.Logprobs = nil
		left("config.logprobs")
	}
}

// inputMeter is the dearest meter that the input of a request can be of: a
// prompt that is to be kept costs what writing it does.
func inputMeter(req *backend.Request) accounting.Meter {
	hints := req.CacheHints()
	switch {
	case slices.ContainsFunc(hints, backend.CacheHint.Long):
		return accounting.CacheWrite1h
	case len(hints) > 0:
		return accounting.CacheWrite5m
	}
	return accounting.Input
}

// unseen warns of media that goes to a backend past rules that would change
// text.
func (a *Answer) unseen(req *backend.Request, rules *policy.Effective) {
	if n := len(req.Media()); n > 0 && rules.Enforces(policy.Input) {
		a.warn(MediaUnseen, "messages", fmt.Sprintf("no rule of a policy sees into media: %d went to the model unjudged", n))
	}
}
