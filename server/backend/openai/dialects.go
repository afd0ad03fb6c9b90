package openai

import (
	"maps"
	"slices"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
)

// A dialect is what one kind of server has otherwise than others of this API.
// The zero value is what most of them share. All that are named here take
// stream_options.include_usage, tools, and a text as the content of a message.
//
// Names of fields in answers are no matter of dialect: reasoning is read under
// either of its names, reasoning_content and reasoning, and tokens from a cache
// as cached_tokens or DeepSeek's prompt_cache_hit_tokens.
type dialect struct {
	// MaxCompletionTokens sends the output limit as max_completion_tokens.
	MaxCompletionTokens bool
	// DeveloperRole tells that the server knows the role developer. Otherwise
	// it is said as system, which every chat template has.
	DeveloperRole bool
	// TopK tells that the server takes top_k; the API itself has no such field.
	TopK bool
	// Candidates is the most answers of a call; 0 is the API's own bound.
	Candidates int
	// NoSeed tells that the server takes no seed, and NoSchema that it cannot be held
	// to answer in JSON of a schema.
	NoSeed, NoSchema bool
	// Alternatives is the most whose log probabilities a token has; 0 is the API's
	// own bound.
	Alternatives int
	// NoParallelCalls and NoCacheKey leave out parallel_tool_calls and
	// prompt_cache_key.
	NoParallelCalls, NoCacheKey bool

	// Choices are the choices of tools that the server can be held to; nil is all.
	Choices []backend.ToolMode
	// NoChoice tells that the server reads no tool_choice: without any the model
	// chooses, and to choose none is to have no tools.
	NoChoice bool
	// NamedAlone holds the model to one tool by sending no other, as required.
	NamedAlone bool

	// Efforts is what asks for each effort.
	Efforts map[backend.Effort]reasoning
	// Budget tells that the server takes a bound on the tokens of reasoning.
	Budget bool
	// SendsReasoning is the member that the reasoning of earlier turns that called
	// tools goes back in: reasoning_content or reasoning; empty leaves it out.
	// EmptyReasoning sends it also where a turn has none, as one of another
	// backend may.
	SendsReasoning string
	EmptyReasoning bool
	// AudioURL sends audio as an audio_url, which may be an address, in the place
	// of input_audio.
	AudioURL bool
	// NoURLs tells that the server fetches nothing from addresses.
	NoURLs bool

	// Classes are the classes of service that service_tier asks for.
	Classes []accounting.ServiceClass

	// KeyHeader is the header of the key; empty is a bearer token in Authorization.
	KeyHeader string
	// Versioned is what stands before the method in the path where the
	// configuration names a version of the API, which then goes into the query;
	// {model} is the model. Empty takes no version.
	Versioned string
}

// reasoning are the members of a request that ask for an effort.
type reasoning struct {
	Effort   string         `json:"reasoning_effort,omitempty"`
	Thinking *thinking      `json:"thinking,omitempty"`
	Enable   *bool          `json:"enable_thinking,omitempty"`
	Budget   int            `json:"thinking_budget,omitempty"`
	Template map[string]any `json:"chat_template_kwargs,omitempty"`
}

type thinking struct {
	Type string `json:"type"`
}

// words are those of the efforts from minimal to max.
type words [5]string

// ladder asks for each effort by its word.
func ladder(none reasoning, w words, ask func(word string) reasoning) map[backend.Effort]reasoning {
	return map[backend.Effort]reasoning{
		backend.EffortNone: none, backend.EffortMinimal: ask(w[0]), backend.EffortLow: ask(w[1]),
		backend.EffortMedium: ask(w[2]), backend.EffortHigh: ask(w[3]), backend.EffortMax: ask(w[4]),
	}
}

func effort(word string) reasoning { return reasoning{Effort: word} }

// template switches reasoning through the variables of a chat template: Qwen's
// and GLM's templates read enable_thinking, DeepSeek's and Granite's thinking. A
// template ignores what it does not read.
func template(on bool, word string) reasoning {
	return reasoning{Effort: word, Template: map[string]any{"enable_thinking": on, "thinking": on}}
}

func templated(word string) reasoning { return template(true, word) }

// wholly gives the word to the template too, as that of gpt-oss reads it.
func wholly(word string) reasoning {
	r := template(true, "")
	r.Template["reasoning_effort"] = word
	return r
}

func deepThinking(word string) reasoning {
	return reasoning{Effort: word, Thinking: &thinking{"enabled"}}
}

func enable(on bool) reasoning { return reasoning{Enable: &on} }

func enabled(string) reasoning { return enable(true) }

// openAIEfforts are the words of the API's reference.
// Source: platform.openai.com/docs/api-reference/chat/create, reasoning_effort.
var openAIEfforts = ladder(effort("none"), words{"minimal", "low", "medium", "high", "xhigh"}, effort)

// dialects are all of them by name. The empty name is what most servers and
// clouds take.
var dialects = map[string]dialect{
	"": {Efforts: openAIEfforts},

	// OpenAI's own: its reasoning models refuse max_tokens and take instructions
	// as developer.
	// Source: platform.openai.com/docs/api-reference/chat/create, max_tokens
	// ("deprecated … not compatible with o-series models") and developer messages.
	// Source of the service_tier: the same page (auto, default, flex, scale, priority).
	"openai": {MaxCompletionTokens: true, DeveloperRole: true, Efforts: openAIEfforts, Classes: openAIClasses},

	// Azure OpenAI: a key is api-key. Its v1 API takes the deployment as the model;
	// the API before has it in the path, and wants a version in the query.
	// Source: learn.microsoft.com/azure/ai-foundry/openai/reference ("POST
	// …/openai/deployments/{deployment-id}/chat/completions?api-version=…",
	// authentication) and …/openai/api-version-lifecycle (v1).
	"azure": {MaxCompletionTokens: true, DeveloperRole: true, Efforts: openAIEfforts, Classes: openAIClasses, KeyHeader: "Api-Key", Versioned: "/deployments/{model}"},

	// vLLM: the words of reasoning_effort that all its versions take are low, medium
	// and high, and whether a hybrid model reasons is a variable of its template.
	// Reasoning goes back for models that reason between calls of tools.
	// Source: docs.vllm.ai, Reasoning Outputs (chat_template_kwargs; the answer's
	// field is reasoning, once reasoning_content), Interleaved Thinking and
	// OpenAI-Compatible Server (extra parameters: top_k; parallel_tool_calls is
	// read); vllm/entrypoints/openai/chat_completion/protocol.py @ 002032e, which
	// also takes none, minimal, xhigh and max. Read on 24 Nov 2026.
	"vllm": {TopK: true, NoCacheKey: true, SendsReasoning: "reasoning",
		Efforts: ladder(template(false, ""), words{"low", "low", "medium", "high", "high"}, templated)},

	// SGLang: has words for every effort, and audio as audio_url alone. Its count of
	// reasoning stands beside completion_tokens.
	// Source: docs.sglang.io, OpenAI APIs - Completions and Reasoning Parser; the
	// request's fields, reasoning_content of messages and usage's reasoning_tokens
	// in python/sglang/srt/entrypoints/openai/protocol.py @ 004c82e, read on
	// 24 Nov 2026.
	"sglang": {TopK: true, NoCacheKey: true, AudioURL: true, SendsReasoning: "reasoning_content",
		Efforts: ladder(template(false, "none"), words{"minimal", "low", "medium", "high", "max"}, templated)},

	// llama.cpp: the effort is a variable of the template. A choice that is an
	// object is read as auto.
	// Source: github.com/ggml-org/llama.cpp, tools/server/README.md, POST
	// /v1/chat/completions; issue 26535 of the same (tool_choice).
	"llamacpp": {TopK: true, NoCacheKey: true, NamedAlone: true, Efforts: ladder(template(false, ""), words{"low", "low", "medium", "high", "high"}, wholly)},

	// Ollama: no tool_choice, no n, images as data alone. Its page says that it gives
	// no log probabilities; its code does, up to 20.
	// Source: docs/api/openai-compatibility.mdx of github.com/ollama/ollama @ fb30760
	// (21 Aug 2026), supported request fields (reasoning_effort is max, high, medium,
	// low or none; image URL is not ticked), and openai/openai.go and
	// server/routes.go of the same (logprobs, top_logprobs; reasoning of messages).
	"ollama": {Candidates: 1, NoParallelCalls: true, NoCacheKey: true, NoURLs: true, SendsReasoning: "reasoning",
		Choices: []backend.ToolMode{backend.ToolAuto, backend.ToolNone}, NoChoice: true,
		Efforts: ladder(effort("none"), words{"low", "low", "medium", "high", "max"}, effort)},

	// DeepSeek: JSON without a schema, efforts low, high and max, and reasoning that
	// called tools goes back. A turn without is refused, though it may be empty. No
	// seed, no n.
	// Source: api-docs.deepseek.com/api/create-chat-completion (fields; usage's
	// prompt_cache_hit_tokens) and …/guides/thinking_mode (thinking; which effort
	// each word is; reasoning_content of turns with tool calls), read on 24 Nov
	// 2026; that an empty one is taken: pull request 13203 of github.com/vercel/ai.
	"deepseek": {Candidates: 1, NoSeed: true, NoSchema: true, NoParallelCalls: true, NoCacheKey: true, SendsReasoning: "reasoning_content", EmptyReasoning: true,
		Efforts: ladder(reasoning{Thinking: &thinking{"disabled"}}, words{"low", "low", "high", "high", "max"}, deepThinking)},

	// Qwen on Alibaba Cloud's Model Studio: reasoning is on or off, with a bound in
	// tokens; no tool can be required without naming it.
	// Source: alibabacloud.com/help/en/model-studio/qwen-api-via-openai-chat-completions
	// (n is 1 to 4, top_logprobs 0 to 5, tool_choice, top_k) and
	// …/model-studio/deep-thinking (enable_thinking, thinking_budget).
	"qwen": {TopK: true, Candidates: 4, Alternatives: 5, NoCacheKey: true, Budget: true,
		Choices: []backend.ToolMode{backend.ToolAuto, backend.ToolNone, backend.ToolNamed},
		Efforts: ladder(enable(false), words{}, enabled)},
}

// Dialects are the names of the dialects, sorted.
func Dialects() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(dialects)), func(name string) bool { return name == "" })
}

// asks returns what asks for a wish.
func (d *dialect) asks(w *backend.ReasoningWish) (r reasoning) {
	if w == nil {
		return r
	}
	if d.Budget && w.Budget > 0 {
		r = enable(true)
		r.Budget = w.Budget
		return r
	}
	return d.Efforts[w.Effort]
}
