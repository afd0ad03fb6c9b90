package gateway

import (
	"slices"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/admit"
	"github.com/weir-gateway/weir/server/route"
	"github.com/weir-gateway/weir/server/tokens"
)

// estimate is how many tokens a call may use, by the count of its model's first
// target. Nothing is counted where no rate is of tokens.
func estimate(call *Call, model *route.Model, rates []policy.BoundRate) admit.Estimate {
	if !slices.ContainsFunc(rates, func(r policy.BoundRate) bool { return r.Tokens != nil }) {
		return admit.Estimate{}
	}
	target, request := model.Targets[0], call.Request
	request.Model = target.Model
	if call.Embedding != nil {
		return admit.Estimate{Input: tokens.Texts(target.Backend, target.Tokenizer, target.Model, textsOf(&request)).Tokens}
	}
	most := int64(model.MaxOutputTokens)
	if request.MaxOutputTokens != nil {
		most = int64(*request.MaxOutputTokens)
	}
	return admit.Estimate{
		Input:     max(1, tokens.Input(target.Backend, target.Tokenizer, &request).Tokens),
		MaxOutput: most * int64(max(1, request.Candidates)),
	}
}
