package gemini

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	pb "cloud.google.com/go/ai/generativelanguage/apiv1beta/generativelanguagepb"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weir-gateway/weir/server/backend"
)

// signer is who signs what this API signs.
const signer = "gemini"

func encode(req *backend.Request) (*pb.GenerateContentRequest, error) {
	config := &pb.GenerationConfig{
		StopSequences: req.Stop, MaxOutputTokens: narrow(req.MaxOutputTokens), TopK: narrow(req.TopK),
		Temperature: single(req.Temperature), TopP: single(req.TopP),
		PresencePenalty: single(req.PresencePenalty), FrequencyPenalty: single(req.FrequencyPenalty),
	}
	out := &pb.GenerateContentRequest{Model: resource(req.Model), GenerationConfig: config}
	if req.Candidates > 1 {
		config.CandidateCount = narrow(&req.Candidates)
	}
	if s := req.Seed; s != nil {
		if *s < math.MinInt32 || *s > math.MaxInt32 {
			return nil, fmt.Errorf("the seed is %d: the API takes one of 32 bits", *s)
		}
		seed := int32(*s)
		config.Seed = &seed
	}
	if n := req.Logprobs; n != nil {
		yes := true
		config.ResponseLogprobs = &yes
		if *n > 0 {
			config.Logprobs = narrow(n)
		}
	}
	config.ThinkingConfig = think(req)
	config.ResponseModalities = modalities(req.Modalities)
	if f := req.Format; f != nil {
		config.ResponseMimeType = "application/json"
		if f.Schema != nil {
			schema, err := jsonValue(f.Schema)
			if err != nil {
				return nil, fmt.Errorf("the schema of the answer: %w", err)
			}
			config.ResponseJsonSchema = schema
		}
	}
	if err := addTools(out, req); err != nil {
		return nil, err
	}
	if err := addMessages(out, req.Messages); err != nil {
		return nil, err
	}
	return out, addOptions(out, req.Vendor[signer])
}

// modalities are what the answer may be; nil is the model's default. Beside images
// the API has audio, of models that give nothing else, in samples whose rate stands in
// a parameter of their type: those are not asked for here.
func modalities(wanted []backend.Modality) []pb.GenerationConfig_Modality {
	var out []pb.GenerationConfig_Modality
	if slices.Contains(wanted, backend.Image) {
		out = append(out, pb.GenerationConfig_TEXT, pb.GenerationConfig_IMAGE)
	}
	return out
}

// think tells how much to think, and asks for the thoughts; nil leaves it to the
// model. An effort is a share of the room for output, as budgets are of it.
func think(req *backend.Request) *pb.ThinkingConfig {
	r := req.Reasoning
	if r == nil {
		return nil
	}
	thoughts, budget := true, r.Budget
	switch {
	case budget > 0:
	case r.Effort == backend.EffortNone:
		thoughts, budget = false, 0
	case r.Effort == "" || req.MaxOutputTokens == nil:
		return &pb.ThinkingConfig{IncludeThoughts: &thoughts}
	default:
		budget = max(1, int(r.Effort.Share()*float64(*req.MaxOutputTokens)))
	}
	return &pb.ThinkingConfig{IncludeThoughts: &thoughts, ThinkingBudget: narrow(&budget)}
}

func addTools(out *pb.GenerateContentRequest, req *backend.Request) error {
	if len(req.Tools) == 0 {
		return nil
	}
	tool := &pb.Tool{}
	for _, t := range req.Tools {
		f := &pb.FunctionDeclaration{Name: t.Name, Description: t.Description}
		if t.Parameters != nil {
			schema, err := jsonValue(t.Parameters)
			if err != nil {
				return fmt.Errorf("the parameters of tool %s: %w", t.Name, err)
			}
			f.ParametersJsonSchema = schema
		}
		tool.FunctionDeclarations = append(tool.FunctionDeclarations, f)
	}
	out.Tools = []*pb.Tool{tool}
	c := req.Choice
	if c == nil {
		return nil
	}
	calling := &pb.FunctionCallingConfig{Mode: pb.FunctionCallingConfig_AUTO}
	switch c.Mode {
	case backend.ToolNone:
		calling.Mode = pb.FunctionCallingConfig_NONE
	case backend.ToolRequired:
		calling.Mode = pb.FunctionCallingConfig_ANY
	case backend.ToolNamed:
		calling.Mode, calling.AllowedFunctionNames = pb.FunctionCallingConfig_ANY, []string{c.Tool}
	}
	out.ToolConfig = &pb.ToolConfig{FunctionCallingConfig: calling}
	return nil
}

// addMessages makes turns of messages. Those of one role that follow each other
// are one: the API wants the results of all calls of a turn in the very next one.
func addMessages(out *pb.GenerateContentRequest, messages []backend.Message) error {
	names := map[string]string{} // of tools, by the ids of their calls
	for i, m := range messages {
		role := "user"
		if m.Role == backend.Assistant {
			role = "model"
		}
		var parts []*pb.Part
		for _, p := range m.Parts {
			if p.Channel == backend.Arguments {
				names[p.CallID] = p.Tool
			}
			part, err := encodePart(p, names)
			if err != nil {
				return fmt.Errorf("messages[%d]: %w", i, err)
			}
			if part != nil {
				parts = append(parts, part)
			}
		}
		if len(parts) == 0 {
			continue
		}
		if m.Role == backend.System || m.Role == backend.Developer {
			if out.SystemInstruction == nil {
				out.SystemInstruction = &pb.Content{}
			}
			out.SystemInstruction.Parts = append(out.SystemInstruction.Parts, parts...)
			continue
		}
		if n := len(out.Contents); n > 0 && out.Contents[n-1].Role == role {
			out.Contents[n-1].Parts = append(out.Contents[n-1].Parts, parts...)
			continue
		}
		out.Contents = append(out.Contents, &pb.Content{Role: role, Parts: parts})
	}
	return nil
}

// encodePart is nil for what the API would not take back.
func encodePart(p backend.Part, names map[string]string) (*pb.Part, error) {
	out := &pb.Part{}
	if s := p.Signature; s != nil && s.Signer == signer {
		signature, err := base64.StdEncoding.DecodeString(s.Data)
		if err != nil {
			return nil, errors.New("a signature is no base64, which those of the API are")
		}
		out.ThoughtSignature = signature
	}
	switch {
	case p.Channel == backend.Reasoning && out.ThoughtSignature == nil:
		return nil, nil
	case p.Channel == backend.Reasoning:
		// A hidden signature came alone, which is no thought.
		out.Thought, out.Data = !p.Signature.Hidden, &pb.Part_Text{Text: p.Text}
	case p.Channel == backend.Arguments:
		args, err := object(p.Text, "arguments")
		if err != nil {
			return nil, err
		}
		out.Data = &pb.Part_FunctionCall{FunctionCall: &pb.FunctionCall{Id: wireID(p.CallID), Name: p.Tool, Args: args}}
	case p.Channel == backend.Result:
		name := p.Tool
		if name == "" {
			name = names[p.CallID]
		}
		if name == "" {
			return nil, fmt.Errorf("a result of call %q names no tool, and no call before it has the id", p.CallID)
		}
		if p.Media != nil {
			return nil, fmt.Errorf("the result of tool %s has media, which the API does not take there", name)
		}
		field := "output"
		if p.Failed {
			field = "error"
		}
		response, err := object(p.Text, field)
		if err != nil {
			return nil, err
		}
		out.Data = &pb.Part_FunctionResponse{FunctionResponse: &pb.FunctionResponse{Id: wireID(p.CallID), Name: name, Response: response}}
	case p.Media != nil && p.Media.URL != "":
		out.Data = &pb.Part_FileData{FileData: &pb.FileData{MimeType: p.Media.Type, FileUri: p.Media.URL}}
	case p.Media != nil:
		out.Data = &pb.Part_InlineData{InlineData: &pb.Blob{MimeType: p.Media.Type, Data: p.Media.Data}}
	case p.Text == "" && out.ThoughtSignature == nil:
		return nil, nil // the API wants no empty part
	default:
		out.Data = &pb.Part_Text{Text: p.Text}
	}
	return out, nil
}

// ownID begins the ids of calls that the driver has made up.
const ownID = "weir-"

// wireID is the id of a call as the API gave it.
func wireID(id string) string {
	if strings.HasPrefix(id, ownID) {
		return ""
	}
	return id
}

// object is a JSON object, or what was said in the place of one, under a name.
func object(text, name string) (*structpb.Struct, error) {
	if strings.TrimSpace(text) == "" && name == "arguments" {
		return nil, nil
	}
	var v map[string]any
	if json.Unmarshal([]byte(text), &v) != nil || v == nil {
		v = map[string]any{name: text}
	}
	s, err := structpb.NewStruct(v)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be said in the API's JSON: %w", name, err)
	}
	return s, nil
}

func jsonValue(schema json.RawMessage) (*structpb.Value, error) {
	v := new(structpb.Value)
	if err := protojson.Unmarshal(schema, v); err != nil || v.GetStructValue() == nil {
		return nil, errors.New("it is no JSON object: write a JSON Schema")
	}
	return v, nil
}

// options are what a request may say beside the neutral form. All else changes who
// answers, what it costs, or runs something that no rule sees. Among it is
// cachedContent: a prompt that nobody has screened or counted, and which may be
// another tenant's, since all share a key.
var options = []string{"safetySettings"}

func addOptions(out *pb.GenerateContentRequest, raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(raw, &given); err != nil || given == nil {
		return errors.New("the options of vendor gemini are no JSON object")
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(options, name) {
			return fmt.Errorf("%q is no option of vendor gemini: known are %s", name, strings.Join(options, " and "))
		}
	}
	more := new(pb.GenerateContentRequest)
	if err := protojson.Unmarshal(raw, more); err != nil {
		return errors.New("the options of vendor gemini cannot be read: write them as the API's reference does")
	}
	out.SafetySettings = more.SafetySettings
	return nil
}

// narrow is a number as the wire has it. One that does not fit is far beyond
// what any model does, and so is the nearest one that does.
func narrow(n *int) *int32 {
	if n == nil {
		return nil
	}
	fits := int32(min(max(*n, math.MinInt32), math.MaxInt32))
	return &fits
}

func single(f *float64) *float32 {
	if f == nil {
		return nil
	}
	short := float32(*f)
	return &short
}
