package gemini

import (
	pb "cloud.google.com/go/ai/generativelanguage/apiv1beta/generativelanguagepb"

	"github.com/weir-gateway/weir/accounting"
)

// meters are disjoint where the API's figures are not: the cached part is in the
// prompt's count. What its own tools put into the prompt is input too. They sum to
// the total: what it has beyond the others are thoughts, which some models count
// there alone.
func meters(u *pb.GenerateContentResponse_UsageMetadata) accounting.Usage {
	var out accounting.Usage
	if u == nil {
		return out
	}
	count := func(n int32) int64 { return max(0, int64(n)) }
	prompt, tools := count(u.GetPromptTokenCount()), count(u.GetToolUsePromptTokenCount())
	cached := min(count(u.GetCachedContentTokenCount()), prompt)
	said, thoughts := count(u.GetCandidatesTokenCount()), count(u.GetThoughtsTokenCount())
	thoughts += max(0, count(u.GetTotalTokenCount())-prompt-tools-said-thoughts)
	out.Set(accounting.Input, prompt-cached+tools)
	out.Set(accounting.CacheRead, cached)
	out.Set(accounting.Output, said)
	out.Set(accounting.Reasoning, thoughts)
	return out
}
