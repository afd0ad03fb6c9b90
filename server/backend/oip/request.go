package oip

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-gateway/weir/gen/inference"
	"github.com/weir-gateway/weir/server/backend"
)

const (
	opens  = "<|im_start|>"
	closes = "<|im_end|>"
)

// prompt is the one text of the messages.
func (t Template) prompt(messages []backend.Message) (string, error) {
	var out strings.Builder
	for i, m := range messages {
		text, err := textOf(m)
		if err != nil {
			return "", fmt.Errorf("messages[%d] %w", i, err)
		}
		if t == Plain {
			if i > 0 {
				out.WriteString("\n\n")
			}
			out.WriteString(text)
			continue
		}
		if strings.Contains(text, opens) || strings.Contains(text, closes) {
			return "", fmt.Errorf("messages[%d] holds %s or %s, by which the model knows who speaks", i, opens, closes)
		}
		role := "user"
		switch m.Role {
		case backend.System, backend.Developer:
			role = "system"
		case backend.Assistant:
			role = "assistant"
		}
		out.WriteString(opens + role + "\n" + text + closes + "\n")
	}
	if t == ChatML {
		out.WriteString(opens + "assistant\n")
	}
	return out.String(), nil
}

func textOf(m backend.Message) (string, error) {
	var text strings.Builder
	for _, p := range m.Parts {
		switch {
		case p.Media != nil:
			return "", errors.New("has media, and the model takes text alone")
		case p.Channel == backend.Arguments || p.Channel == backend.Result:
			return "", errors.New("is of a call of a tool, and the model knows none")
		case p.Channel == backend.Content || p.Channel == backend.Refusal:
			text.WriteString(p.Text)
		}
	}
	return text.String(), nil
}

// samplingParameters is vLLM's tensor of all parameters as JSON.
const samplingParameters = "sampling_parameters"

// A parameter of a request: its name in vLLM's JSON, and those of the tensors by
// which other models take it.
type parameter struct {
	name    string
	tensors []string
	value   any // nil where the request does not say it
}

func value[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

func parameters(req *backend.Request) []parameter {
	stop := any(nil)
	if len(req.Stop) > 0 {
		stop = req.Stop
	}
	return []parameter{
		{"max_tokens", []string{"max_tokens"}, value(req.MaxOutputTokens)},
		{"temperature", []string{"temperature"}, value(req.Temperature)},
		{"top_p", []string{"top_p"}, value(req.TopP)},
		{"top_k", []string{"top_k"}, value(req.TopK)},
		{"seed", []string{"seed", "random_seed"}, value(req.Seed)},
		{"frequency_penalty", []string{"frequency_penalty"}, value(req.FrequencyPenalty)},
		{"presence_penalty", []string{"presence_penalty"}, value(req.PresencePenalty)},
		{"stop", []string{"stop", "stop_words"}, stop},
	}
}

// reserved are the options of vLLM that are for the gateway to set, beside the
// parameters: they change how much is answered.
var reserved = []string{"n", "best_of", "logprobs", "prompt_logprobs", "echo", "stream"}

func (b *Backend) encode(req *backend.Request, m *model) (*inference.ModelInferRequest, error) {
	if len(req.Tools) > 0 || req.Format != nil || req.Reasoning != nil || req.Logprobs != nil {
		return nil, refused(m, "knows no tools, no form of its answer, no effort and no log probabilities")
	}
	text, err := b.config.Template.prompt(req.Messages)
	if err != nil {
		return nil, err
	}
	prompt, err := m.prompt(b.config.Prompt)
	if err != nil {
		return nil, err
	}
	w := &writer{request: &inference.ModelInferRequest{ModelName: req.Model, Id: req.RequestID}}
	w.add(prompt, text)
	if m.takes(samplingParameters) {
		err = w.sampling(m, parameters(req), req.Vendor["oip"])
	} else {
		err = w.single(m, parameters(req), req)
	}
	if err != nil {
		return nil, err
	}
	for name, on := range map[string]bool{
		"stream":                   m.stream != Whole,
		"exclude_input_in_output":  true,
		"return_finish_reason":     m.gives("return_finish_reason", "finish_reason"),
		"return_num_input_tokens":  m.gives("return_num_input_tokens", "num_input_tokens"),
		"return_num_output_tokens": m.gives("return_num_output_tokens", "num_output_tokens"),
	} {
		if t := named(m.inputs, name); t != nil {
			w.add(t, on)
		}
	}
	return w.request, w.err
}

// A writer adds tensors to a request and keeps the first error.
type writer struct {
	request *inference.ModelInferRequest
	err     error
}

func (w *writer) add(t *tensorMetadata, v any) {
	tensor, err := write(t, v)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.request.Inputs = append(w.request.Inputs, tensor)
}

// sampling writes the parameters as JSON, and the vendor's options beside them.
func (w *writer) sampling(m *model, all []parameter, options json.RawMessage) error {
	object := map[string]any{}
	for _, p := range all {
		if p.value != nil {
			object[p.name] = p.value
		}
	}
	if options != nil {
		var more map[string]json.RawMessage
		if err := json.Unmarshal(options, &more); err != nil || more == nil {
			return errors.New("the options of vendor oip are no JSON object")
		}
		for _, name := range slices.Sorted(maps.Keys(more)) {
			if slices.Contains(reserved, name) || slices.ContainsFunc(all, func(p parameter) bool { return p.name == name }) {
				return fmt.Errorf("%q is no option of vendor oip: it is for the gateway to set", name)
			}
			object[name] = more[name]
		}
	}
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	w.add(named(m.inputs, samplingParameters), string(text))
	return nil
}

// single writes each parameter as the tensor that the model has for it.
func (w *writer) single(m *model, all []parameter, req *backend.Request) error {
	if req.Vendor["oip"] != nil && !req.DropUnsupported {
		return refused(m, "takes no options: it has no tensor %s", samplingParameters)
	}
	for _, p := range all {
		if p.value == nil {
			continue
		}
		i := slices.IndexFunc(p.tensors, m.takes)
		switch {
		case i >= 0:
			w.add(named(m.inputs, p.tensors[i]), p.value)
		case p.name != "max_tokens" && !req.DropUnsupported:
			return refused(m, "has no tensor for %s", p.name)
		}
	}
	return nil
}
