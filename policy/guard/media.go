package guard

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

// Media makes a guard that finds content that is no text, whatever is in it. Its
// key:
//
//	modalities: [image, audio]   # all where absent: image, audio, video, file
//
// A finding's category is media/MODALITY. It is how a policy decides what becomes
// of what no guard sees into.
func Media(rule *yaml.Node, _ policy.Env) (policy.Guard, error) {
	var raw struct {
		Modalities []string `yaml:"modalities"`
	}
	// A rule that says nothing of its own is one on all of them.
	if len(rule.Content) > 0 {
		if err := policy.Decode(rule, &raw); err != nil {
			return nil, err
		}
	}
	known := policy.Modalities()
	if raw.Modalities == nil {
		raw.Modalities = known
	}
	if len(raw.Modalities) == 0 {
		return nil, policy.Fault(rule, "modalities", "names none: leave it out for all, or name some of %s", strings.Join(known, ", "))
	}
	for i, name := range raw.Modalities {
		if !slices.Contains(known, name) {
			return nil, policy.Fault(rule, fmt.Sprintf("modalities[%d]", i), "unknown modality %q (known: %s)", name, strings.Join(known, ", "))
		}
	}
	slices.Sort(raw.Modalities)
	return policy.NewMedia(slices.Compact(raw.Modalities)), nil
}
