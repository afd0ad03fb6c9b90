package anthropic

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
)

// leastThinking is the smallest budget that the API takes.
const leastThinking = 1024

type thinking struct {
	Type         string `json:"type"`
	BudgetTokens int    `json:"budget_tokens,omitempty"`
	Display      string `json:"display,omitempty"`
}

// A mind is how a model is told to think.
type mind struct {
	// budget takes a bound in tokens, and adaptive an effort.
	budget, adaptive bool
	// byDefault thinks where nothing is said, and always can do no other.
	byDefault, always bool
	// noSampling takes no top_k.
	noSampling bool
}

// mindOf tells it by the model's name. Budgets are of models before 4.6; 4.6 takes
// both, later ones an effort alone and no parameters of sampling. From 5 on they
// think by default, and some of them always. Whatever has no version in its name
// takes a budget.
// Source: docs.aws.amazon.com/bedrock, Adaptive thinking (which models take what);
// platform.claude.com/docs, What's new in Claude Opus 5 and its migration guide
// (thinking by default); the words of efforts in anthropic-sdk-python @ 009b035
// (7 Aug 2026), types/output_config_param.py. Read on 24 Nov 2026.
func mindOf(model string) mind {
	family, version := versionOf(model)
	rare := family == "fable" || family == "mythos"
	switch {
	case rare && version == 0: // a preview
		version = 500
	case version < 406:
		return mind{budget: true}
	case version == 406:
		return mind{budget: true, adaptive: true}
	}
	always := rare || version >= 505 && (family == "opus" || family == "sonnet")
	return mind{adaptive: true, byDefault: version >= 500, always: always, noSampling: true}
}

// versionOf finds the family of a model and its version, 406 for 4.6, in a name
// such as claude-opus-4-6-20260205, anthropic.claude-opus-4-6-v1 or
// claude-3-7-sonnet-latest. A number of more digits is a date.
func versionOf(model string) (family string, version int) {
	_, name, is := strings.Cut(strings.ToLower(model), "claude-")
	if !is {
		return "", 0
	}
	numbers := 0
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("-.@:", r) }) {
		n, err := strconv.Atoi(word)
		switch {
		case err == nil && len(word) < 3 && numbers == 0:
			version, numbers = 100*n, 1
		case err == nil && len(word) < 3 && numbers == 1:
			version, numbers = version+n, 2
		case err != nil && family == "":
			family, numbers = word, 2*numbers // the minor version stands beside the major one
		case numbers > 0:
			numbers = 2
		}
	}
	return family, version
}

// efforts are the words of the API.
var efforts = map[backend.Effort]string{
	backend.EffortMinimal: "low", backend.EffortLow: "low", backend.EffortMedium: "medium", backend.EffortHigh: "high", backend.EffortMax: "max",
}

// think tells how much to think, and with which effort; nil and empty leave it to
// the model. With a choice of tools that forces a call the API refuses thinking,
// which then stays as it is by default.
func think(req *backend.Request, most int) (*thinking, string, error) {
	r, mind := req.Reasoning, mindOf(req.Model)
	switch {
	case r == nil:
		return nil, "", nil
	case r.Budget > 0 && mind.budget || !mind.adaptive:
		t, err := budget(req, most)
		return t, "", err
	case r.Effort == "":
		return nil, "", errors.New("a budget of tokens of thinking is wanted: the model takes an effort")
	case r.Effort == backend.EffortNone && mind.always:
		return nil, efforts[backend.EffortMinimal], nil // the nearest there is
	case r.Effort == backend.EffortNone && mind.byDefault:
		return &thinking{Type: "disabled"}, "", nil
	case r.Effort == backend.EffortNone:
		return nil, "", nil
	case forced(req.Choice):
		return nil, efforts[r.Effort], nil
	}
	// Later models leave out what they thought unless they are asked for it.
	return &thinking{Type: "adaptive", Display: "summarized"}, efforts[r.Effort], nil
}

// budget tells how many tokens a model that counts them may think. Where the turn
// that goes on has calls of tools and no signed thinking it stays off, since the
// API refuses the one without the other.
func budget(req *backend.Request, most int) (*thinking, error) {
	switch r := req.Reasoning; {
	case r.Effort == backend.EffortNone && r.Budget == 0:
		return &thinking{Type: "disabled"}, nil
	case r.Budget >= most || r.Budget > 0 && r.Budget < leastThinking:
		return nil, fmt.Errorf("a budget of %d tokens of thinking is wanted: the API takes from %d to less than the %d of the answer", r.Budget, leastThinking, most)
	case unsigned(req.Messages), forced(req.Choice):
		return nil, nil
	case r.Budget > 0:
		return &thinking{Type: "enabled", BudgetTokens: r.Budget}, nil
	case most <= leastThinking:
		return nil, nil // an effort is a wish, and there is no room for the least
	default:
		return &thinking{Type: "enabled", BudgetTokens: min(max(leastThinking, int(r.Effort.Share()*float64(most))), most-1)}, nil
	}
}

// forced tells that the model has to call a tool.
func forced(c *backend.ToolChoice) bool {
	return c != nil && (c.Mode == backend.ToolRequired || c.Mode == backend.ToolNamed)
}

// unsigned tells that the turn which goes on has called tools without thinking
// that the API would take back.
func unsigned(messages []backend.Message) bool {
	for i := len(messages) - 1; i >= 0 && messages[i].Role != backend.User; i-- {
		called, signed := false, false
		for _, p := range messages[i].Parts {
			called = called || p.Channel == backend.Arguments
			signed = signed || p.Channel == backend.Reasoning && p.Signature != nil && p.Signature.Signer == signer
		}
		if called && !signed {
			return true
		}
	}
	return false
}
