package sdktest

import (
	"errors"
	"net/http"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// client is an unmodified SDK that is told where Weir is. It counts what it
// sends, tries again among it.
func client(key string) (openai.Client, *int) {
	requests := new(int)
	return openai.NewClient(
		option.WithBaseURL("http://"+weir.http+"/v1"), option.WithAPIKey(key),
		option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
			*requests++
			return next(r)
		}),
	), requests
}

func ask(model, prompt string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)}}
}

func TestOpenAIGo(t *testing.T) {
	weirClient, _ := client(weir.key)

	whole, err := weirClient.Chat.Completions.New(t.Context(), ask("sim-text", "say: 你好 <world> & all"))
	if err != nil {
		t.Fatal(err)
	}
	if c := whole.Choices[0]; c.Message.Content != "你好 <world> & all" || c.FinishReason != "stop" || string(c.Message.Role) != "assistant" {
		t.Errorf("choice is %+v", c)
	}
	if u := whole.Usage; u.TotalTokens == 0 || u.TotalTokens != u.PromptTokens+u.CompletionTokens {
		t.Errorf("usage is %+v", u)
	}
	if _, ok := whole.JSON.ExtraFields["weir"]; !ok {
		t.Error("the SDK does not keep what Weir adds")
	}

	params := ask("sim-text", "say: 你好 <world> & all")
	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	stream := weirClient.Chat.Completions.NewStreaming(t.Context(), params)
	var sum openai.ChatCompletionAccumulator
	finished := false
	for stream.Next() {
		if !sum.AddChunk(stream.Current()) {
			t.Fatalf("the accumulator refuses %s", stream.Current().RawJSON())
		}
		if _, ok := sum.JustFinishedContent(); ok {
			finished = true
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if sum.Choices[0].Message.Content != "你好 <world> & all" || sum.Choices[0].FinishReason != "stop" || !finished {
		t.Errorf("accumulated %+v", sum.Choices)
	}
	if sum.Usage.TotalTokens != whole.Usage.TotalTokens {
		t.Errorf("usage is %+v streamed and %+v whole", sum.Usage, whole.Usage)
	}

	models := weirClient.Models.ListAutoPaging(t.Context())
	found := false
	for models.Next() {
		found = found || models.Current().ID == "sim-text"
	}
	if err := models.Err(); err != nil || !found {
		t.Errorf("models: sim-text found %v, %v", found, err)
	}
	if m, err := weirClient.Models.Get(t.Context(), "sim-text"); err != nil || m.ID != "sim-text" {
		t.Errorf("model: %+v, %v", m, err)
	}
}

func TestOpenAIGoEmbeddings(t *testing.T) {
	weirClient, _ := client(weir.key)
	got, err := weirClient.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
		Model: "sim-embed", Dimensions: openai.Int(4),
		Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"你好，世界", "The river is calm."}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Data) != 2 || got.Data[1].Index != 1 || len(got.Data[1].Embedding) != 4 || got.Usage.PromptTokens == 0 || got.Usage.TotalTokens != got.Usage.PromptTokens {
		t.Errorf("embeddings are %+v", got)
	}
	_, err = weirClient.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
		Model: "sim-embed", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfTokens: []int64{1, 2}},
	})
	var told *openai.Error
	if !errors.As(err, &told) || told.StatusCode != 400 || told.Param != "input" {
		t.Errorf("tokens: %v", err)
	}
}

// TestOpenAIGoTools is a turn of an agent: the model calls tools, their results
// go back, and it answers.
func TestOpenAIGoTools(t *testing.T) {
	weirClient, _ := client(weir.key)
	const arguments = `{"city": "北京", "note": "\"quoted\""}`
	params := ask("sim-text", "call: get_weather "+arguments+"\ncall: now {}")
	params.Tools = []openai.ChatCompletionToolUnionParam{
		openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "get_weather", Parameters: openai.FunctionParameters{"type": "object"}}),
		openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "now"}),
	}
	whole, err := weirClient.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	var sum openai.ChatCompletionAccumulator
	done := 0
	stream := weirClient.Chat.Completions.NewStreaming(t.Context(), params)
	for stream.Next() {
		if !sum.AddChunk(stream.Current()) {
			t.Fatalf("the accumulator refuses %s", stream.Current().RawJSON())
		}
		if _, ok := sum.JustFinishedToolCall(); ok {
			done++
		}
	}
	if err := stream.Err(); err != nil || done != 2 {
		t.Fatalf("%d calls finished, %v", done, err)
	}
	for name, c := range map[string]openai.ChatCompletionChoice{"whole": whole.Choices[0], "streamed": sum.Choices[0]} {
		calls := c.Message.ToolCalls
		if c.FinishReason != "tool_calls" || len(calls) != 2 || calls[0].ID == "" || calls[0].Function.Name != "get_weather" || calls[0].Function.Arguments != arguments || calls[1].Function.Name != "now" {
			t.Errorf("%s: %+v", name, c)
		}
	}
	params.Messages = append(params.Messages, whole.Choices[0].Message.ToParam(),
		openai.ToolMessage("晴", whole.Choices[0].Message.ToolCalls[0].ID), openai.ToolMessage("八点", whole.Choices[0].Message.ToolCalls[1].ID))
	answer, err := weirClient.Chat.Completions.New(t.Context(), params)
	if err != nil || answer.Choices[0].Message.Content != "The tool says: 晴 八点" {
		t.Errorf("%+v %v", answer, err)
	}
}

func TestOpenAIGoErrors(t *testing.T) {
	tools := ask("sim-text", "hi")
	tools.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "a b"})}
	for _, c := range []struct {
		name, key string
		params    openai.ChatCompletionNewParams
		status    int
		code      string
		param     string
	}{
		{"key", "weir_none", ask("sim-text", "hi"), 401, "invalid_api_key", ""},
		{"model", weir.key, ask("none", "hi"), 404, "model_not_found", "model"},
		{"tools", weir.key, tools, 400, "", "tools[0].function.name"},
		{"budget", weir.poor, ask("sim-text", "hi"), 429, "insufficient_quota", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			weirClient, requests := client(c.key)
			_, err := weirClient.Chat.Completions.New(t.Context(), c.params)
			var told *openai.Error
			if !errors.As(err, &told) {
				t.Fatal(err)
			}
			if told.StatusCode != c.status || told.Code != c.code || told.Param != c.param || told.Message == "" {
				t.Errorf("the SDK says %d %q %q: %s", told.StatusCode, told.Code, told.Param, told.Message)
			}
			if told.Response.Header.Get("x-request-id") == "" {
				t.Error("no request id")
			}
			if *requests != 1 { // an SDK tries a 429 three times unless it is told not to
				t.Errorf("%d requests", *requests)
			}
		})
	}

	weirClient, requests := client(weir.key)
	stream := weirClient.Chat.Completions.NewStreaming(t.Context(), ask("sim-cut", "tokens: 50"))
	chunks := 0
	for stream.Next() {
		chunks++
	}
	if stream.Err() == nil || chunks == 0 || *requests != 1 {
		t.Errorf("a stream that breaks: %v after %d chunks and %d requests", stream.Err(), chunks, *requests)
	}
}

// TestOpenAIGoIdempotency: the SDK sends a key where it is told to, and only then,
// and heeds that a call which was answered is not to be tried again.
func TestOpenAIGoIdempotency(t *testing.T) {
	var sent []string
	weirClient := openai.NewClient(
		option.WithBaseURL("http://"+weir.http+"/v1"), option.WithAPIKey(weir.key),
		option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
			sent = append(sent, r.Header.Get("Idempotency-Key"))
			return next(r)
		}),
	)
	if _, err := weirClient.Chat.Completions.New(t.Context(), ask("sim-text", "say: hi")); err != nil {
		t.Fatal(err)
	}
	key := option.WithHeader("Idempotency-Key", "sdk")
	if _, err := weirClient.Chat.Completions.New(t.Context(), ask("sim-text", "say: hi"), key); err != nil {
		t.Fatal(err)
	}
	_, err := weirClient.Chat.Completions.New(t.Context(), ask("sim-text", "say: hi"), key)
	var told *openai.Error
	if !errors.As(err, &told) || told.StatusCode != http.StatusConflict || told.Code != "answer_not_kept" {
		t.Errorf("%v", err)
	}
	if len(sent) != 3 || sent[0] != "" || sent[1] != "sdk" {
		t.Errorf("the keys sent are %q", sent)
	}
}
