package weir

import (
	"context"

	"google.golang.org/grpc/metadata"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/face"
)

// CountTokens counts the tokens of an input.
func (g *Generation) CountTokens(ctx context.Context, req *weirv1.CountTokensRequest) (*weirv1.CountTokensResponse, error) {
	call, err := callOf(ctx, &weirv1.GenerateRequest{
		Model: req.GetModel(), Messages: req.GetMessages(), Tools: req.GetTools(),
		Config: &weirv1.GenerationConfig{ResponseFormat: req.GetResponseFormat()},
	})
	if err != nil {
		return nil, err
	}
	n, err := g.Gateway.CountTokens(call)
	if err != nil {
		return nil, err
	}
	out := &weirv1.CountTokensResponse{InputTokens: n.Tokens, Count: weirv1.TokenCount_TOKEN_COUNT_TOKENIZER, Backend: n.Backend, BackendModel: n.BackendModel}
	if !n.Exact {
		out.Count, out.EstimatedInputTokens = weirv1.TokenCount_TOKEN_COUNT_BOUND, &n.Estimate
	}
	return out, nil
}

// Moderate judges texts.
func (g *Generation) Moderate(ctx context.Context, req *weirv1.ModerateRequest) (*weirv1.ModerateResponse, error) {
	headers, _ := metadata.FromIncomingContext(ctx)
	about := req.GetContext()
	call, err := face.NewCall(ctx, headers, face.About{Labels: about.GetLabels(), EndUser: about.GetEndUser(), Session: about.GetSession()})
	if err != nil {
		return nil, err
	}
	call.Model = req.GetModel()
	all, err := g.Gateway.Moderate(ctx, call, req.GetTexts())
	if err != nil {
		return nil, err
	}
	out := &weirv1.ModerateResponse{RequestId: call.RequestID}
	for i := range all {
		m := &all[i]
		result := &weirv1.Moderation{Action: face.Action(m.Action()), Verdicts: face.Verdicts(m.Verdicts), UnjudgedBytes: m.UnjudgedBytes}
		if !m.Blocked {
			result.Text = &m.Text
		}
		out.Results = append(out.Results, result)
	}
	return out, nil
}
