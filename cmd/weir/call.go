package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type callCommand struct {
	connection
	mediaAsk
	Model     string            `short:"m" required:"" help:"Model to ask." placeholder:"NAME"`
	System    string            `help:"What the model is told before the prompt." placeholder:"TEXT"`
	MaxTokens int32             `help:"Most tokens of the answer." placeholder:"N"`
	Seed      *int64            `help:"Seed of the sampling." placeholder:"N"`
	Label     map[string]string `help:"Label for cost reports; may be given more than once." placeholder:"KEY=VALUE"`
	EndUser   string            `help:"Pseudonym of whom the call is for." placeholder:"ID"`
	MaxCost   string            `help:"Most that the call may cost, such as \"0.05 USD\"." placeholder:"AMOUNT"`
	Repeat    string            `name:"idempotency-key" help:"Name by which the call can be repeated: a random one. The same call again has the same answer, and costs nothing." placeholder:"KEY"`
	NoCache   bool              `help:"Have the answer generated, though the cache may have it."`
	Stream    bool              `help:"Print the answer as it comes."`
	Output    string            `short:"o" enum:"text,json" default:"text" help:"text or json."`
	Prompt    []string          `arg:"" optional:"" help:"What to ask; standard input where it is absent or -."`
}

// callResult is the answer as `weir call -o json` prints it.
type callResult struct {
	Text         string           `json:"text"`
	Reasoning    string           `json:"reasoning,omitempty"`
	Refusal      string           `json:"refusal,omitempty"`
	Transcript   string           `json:"transcript,omitempty"` // of audio
	Media        []mediaResult    `json:"media,omitempty"`
	ToolCalls    []toolCallResult `json:"tool_calls,omitempty"`
	Usage        usageResult      `json:"usage"`
	Cost         *moneyResult     `json:"cost"` // null where no price is known
	Verdicts     []verdictInfo    `json:"verdicts"`
	FinishReason string           `json:"finish_reason"`
	Target       targetResult     `json:"target"`
	RequestID    string           `json:"request_id"`
	Replayed     bool             `json:"replayed,omitempty"` // given before, to the call of that id
}

type usageResult struct {
	InputTokens     *int64 `json:"input_tokens,omitempty"`
	OutputTokens    *int64 `json:"output_tokens,omitempty"`
	CacheReadTokens *int64 `json:"cache_read_tokens,omitempty"`
	ReasoningTokens *int64 `json:"reasoning_tokens,omitempty"`
	Source          string `json:"source,omitempty"`
}

type moneyResult struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
}

type targetResult struct {
	RequestedModel          string `json:"requested_model"`
	Model                   string `json:"model"`
	Backend                 string `json:"backend"`
	BackendModel            string `json:"backend_model,omitempty"`
	Reason                  string `json:"reason,omitempty"`
	InjectedMaxOutputTokens *int32 `json:"injected_max_output_tokens,omitempty"`
	// CacheAge is that of an answer that comes from the cache.
	CacheAge string `json:"cache_age,omitempty"`
}

// toolCallResult is a call of a tool; its arguments are JSON as the model wrote
// it.
type toolCallResult struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type verdictInfo struct {
	Guard    string `json:"guard"`
	Rule     string `json:"rule"`
	Policy   string `json:"policy"`
	Revision int64  `json:"policy_revision"`
	Category string `json:"category,omitempty"`
	Severity string `json:"severity,omitempty"`
	Action   string `json:"action"`
	Stage    string `json:"stage"`
	Channel  string `json:"channel,omitempty"`
	Start    *int64 `json:"start,omitempty"`
	End      *int64 `json:"end,omitempty"`
}

func (c *callCommand) Run(ctx context.Context, t terminal) error {
	prompt := strings.Join(c.Prompt, " ")
	if prompt == "" || prompt == "-" {
		data, err := io.ReadAll(t.in)
		if err != nil {
			return err
		}
		prompt = strings.TrimSuffix(string(data), "\n")
	}
	if prompt == "" {
		return usageError(errors.New("nothing to ask: write the prompt behind the flags, or into standard input"))
	}
	if err := c.ready(); err != nil {
		return err
	}
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := weirv1.NewGenerationServiceClient(conn)
	if c.MaxCost != "" { // the server reads it, as it reads that of every client
		ctx = metadata.AppendToOutgoingContext(ctx, "x-weir-max-cost", c.MaxCost)
	}
	if c.Repeat != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-weir-idempotency-key", c.Repeat)
	}
	if c.NoCache {
		ctx = metadata.AppendToOutgoingContext(ctx, "cache-control", "no-cache")
	}

	var result callResult
	if c.Stream {
		result, err = c.stream(ctx, client, c.request(prompt), t)
	} else {
		result, err = c.unary(ctx, client, c.request(prompt))
	}
	if err != nil {
		if c.Stream && c.Output == "text" && result.Text != "" {
			fmt.Fprintln(t.out) // what went wrong is no part of the answer
		}
		return told(err)
	}
	unsaved := c.save(&result)
	switch {
	case c.Output == "json":
		if err := printJSON(t.out, result); err != nil {
			return err
		}
	case !c.Stream && result.Text != "":
		fmt.Fprintln(t.out, result.Text)
	case c.Stream && result.Text != "" || len(result.ToolCalls)+len(result.Media) == 0:
		fmt.Fprintln(t.out)
	}
	if c.Output == "text" {
		for _, call := range result.ToolCalls {
			fmt.Fprintf(t.out, "%s(%s)\n", call.Name, call.Arguments)
		}
		if result.Transcript != "" {
			fmt.Fprintln(t.out, result.Transcript)
		}
		printMedia(t.out, result.Media)
	}
	switch result.FinishReason {
	case "safety":
		return &codedError{exitBlocked, errors.New("the answer ends here: " + blockedBy(result.Verdicts))}
	case "budget":
		return &codedError{exitExhausted, errors.New("the answer ends here: a budget has no room for more of it; weir budget list tells which")}
	}
	return unsaved
}

func (c *callCommand) request(prompt string) *weirv1.GenerateRequest {
	r := &weirv1.GenerateRequest{
		Model:   c.Model,
		Config:  &weirv1.GenerationConfig{Seed: c.Seed, ResponseModalities: c.modalities(), Voice: c.Voice},
		Context: &weirv1.RequestContext{Labels: c.Label, EndUser: c.EndUser},
	}
	if c.System != "" {
		r.Messages = append(r.Messages, say(weirv1.Role_ROLE_SYSTEM, c.System))
	}
	r.Messages = append(r.Messages, say(weirv1.Role_ROLE_USER, prompt))
	if c.MaxTokens > 0 {
		r.Config.MaxOutputTokens = &c.MaxTokens
	}
	return r
}

func say(role weirv1.Role, text string) *weirv1.Message {
	return &weirv1.Message{Role: role, Parts: []*weirv1.Part{{Data: &weirv1.Part_Text{Text: text}}}}
}

func (c *callCommand) unary(ctx context.Context, client weirv1.GenerationServiceClient, request *weirv1.GenerateRequest) (callResult, error) {
	answer, err := client.Generate(ctx, request)
	if err != nil {
		return callResult{}, err
	}
	result := callResult{RequestID: answer.RequestId, Replayed: answer.Replayed}
	result.end(answer.Usage, answer.Cost, answer.Verdicts, answer.Target)
	if len(answer.Candidates) > 0 {
		first := answer.Candidates[0]
		result.FinishReason = enumWord(first.FinishReason.String(), "FINISH_REASON_")
		for _, part := range first.Message.GetParts() {
			result.Text += part.GetText()
			result.Reasoning += part.GetReasoning().GetText()
			result.Refusal += part.GetRefusal().GetText()
			result.Transcript += part.GetTranscript().GetText()
			if media := part.GetMedia(); media != nil {
				result.Media = append(result.Media, mediaResultOf(media))
			}
			if call := part.GetToolCall(); call != nil {
				result.ToolCalls = append(result.ToolCalls, toolCallResult{call.Id, call.Name, call.ArgumentsJson})
			}
		}
	}
	return result, nil
}

func (c *callCommand) stream(ctx context.Context, client weirv1.GenerationServiceClient, request *weirv1.GenerateRequest, t terminal) (callResult, error) {
	var result callResult
	stream, err := client.StreamGenerate(ctx, request)
	if err != nil {
		return result, err
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return result, nil
		}
		if err != nil {
			return result, err
		}
		switch e := message.Event.(type) {
		case *weirv1.StreamGenerateResponse_Started:
			result.RequestID, result.Replayed = e.Started.RequestId, e.Started.Replayed
		case *weirv1.StreamGenerateResponse_Delta:
			result.Text += e.Delta.GetText()
			result.Reasoning += e.Delta.GetReasoningText()
			result.Refusal += e.Delta.GetRefusalText()
			result.Transcript += e.Delta.GetTranscriptText()
			if media := e.Delta.GetMedia(); media != nil {
				result.Media = append(result.Media, mediaResultOf(media))
			}
			if call := e.Delta.GetToolCall(); call != nil {
				result.ToolCalls = append(result.ToolCalls, toolCallResult{ID: call.Id, Name: call.Name})
			}
			if piece := e.Delta.GetToolArguments(); piece != nil && int(piece.Index) < len(result.ToolCalls) {
				result.ToolCalls[piece.Index].Arguments += piece.Text
			}
			if c.Output == "text" {
				io.WriteString(t.out, e.Delta.GetText())
			}
		case *weirv1.StreamGenerateResponse_CandidateDone:
			if e.CandidateDone.CandidateIndex == 0 {
				result.FinishReason = enumWord(e.CandidateDone.FinishReason.String(), "FINISH_REASON_")
			}
		case *weirv1.StreamGenerateResponse_Completed:
			result.end(e.Completed.Usage, e.Completed.Cost, e.Completed.Verdicts, e.Completed.Target)
		}
	}
}

// end fills in what comes with the end of an answer.
func (r *callResult) end(u *weirv1.Usage, cost *weirv1.Cost, verdicts []*weirv1.Verdict, target *weirv1.Target) {
	r.Usage = usageResultOf(u)
	if cost != nil {
		r.Cost = &moneyResult{moneyOf(cost.Total).Decimal(), cost.Total.GetCurrencyCode()}
	}
	r.Verdicts = verdictInfos(verdicts)
	r.Target = targetResult{
		RequestedModel: target.GetRequestedModel(), Model: target.GetModel(), Backend: target.GetBackend(),
		BackendModel: target.GetBackendModel(), Reason: target.GetReason(),
	}
	if target != nil {
		r.Target.InjectedMaxOutputTokens = target.InjectedMaxOutputTokens
		if age := target.CacheAge; age != nil {
			r.Target.CacheAge = age.AsDuration().Round(time.Millisecond).String()
		}
	}
}

// enumWord is the word of an enum value: FINISH_REASON_STOP is "stop", and what
// is not given is "".
func enumWord(value, prefix string) string {
	word := strings.ToLower(strings.TrimPrefix(value, prefix))
	if word == "unspecified" {
		return ""
	}
	return word
}

func blockedBy(verdicts []verdictInfo) string {
	for _, v := range verdicts {
		if v.Action == "block" {
			return fmt.Sprintf("rule %s of policy %s blocked it (%s)", v.Rule, v.Policy, v.Guard)
		}
	}
	return "a policy blocked it"
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func usageResultOf(u *weirv1.Usage) usageResult {
	return usageResult{
		InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, CacheReadTokens: u.CacheReadTokens, ReasoningTokens: u.ReasoningTokens,
		Source: enumWord(u.GetSource().String(), "QUANTITY_SOURCE_"),
	}
}

func verdictInfos(verdicts []*weirv1.Verdict) []verdictInfo {
	list := make([]verdictInfo, len(verdicts))
	for i, v := range verdicts {
		list[i] = verdictInfo{
			Guard: v.Guard, Rule: v.Rule, Policy: v.Policy, Revision: v.PolicyRevision, Category: v.Category,
			Severity: enumWord(v.Severity.String(), "SEVERITY_"), Action: enumWord(v.Action.String(), "ACTION_"),
			Stage: enumWord(v.Stage.String(), "STAGE_"), Channel: v.Channel, Start: v.Start, End: v.End,
		}
	}
	return list
}
