package openai

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
)

// reserved are the parameters that are no vendor options: the driver sets them,
// or they change who answers, what it costs, or what nobody screens. The last
// line has what other servers of the API add: more models to fall back to, a
// way to run one, prompts that go past their template.
var reserved = []string{
	"model", "messages", "stream", "stream_options", "n", "best_of", "max_tokens", "max_completion_tokens", "min_tokens",
	"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format", "stop", "seed", "logprobs", "top_logprobs",
	"temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "reasoning_effort", "prompt_cache_key",
	"modalities", "audio", "prediction", "web_search_options", "service_tier", "store", "background", "metadata", "user", "safety_identifier",
	"models", "route", "provider", "plugins", "transforms", "chat_template", "prompt", "input", "echo", "ignore_eos", "return_token_ids", "prompt_logprobs",
}

type wirePart struct {
	Type       string     `json:"type"`
	Text       *string    `json:"text,omitempty"`
	ImageURL   *wireImage `json:"image_url,omitempty"`
	VideoURL   *wireImage `json:"video_url,omitempty"` // vLLM's and Qwen's; OpenAI takes no video
	AudioURL   *wireImage `json:"audio_url,omitempty"` // SGLang's
	InputAudio *wireAudio `json:"input_audio,omitempty"`
	File       *wireFile  `json:"file,omitempty"`
}

type wireImage struct {
	URL    string         `json:"url"`
	Detail backend.Detail `json:"detail,omitempty"`
}

type wireAudio struct {
	Data   string `json:"data"`
	Format string `json:"format"`
}

type wireFile struct {
	Name string `json:"filename,omitempty"`
	Data string `json:"file_data"`
}

// encodeParts writes content of which some is no text; nil where all is, which
// every server takes as one text.
func encodeParts(parts []backend.Part, d *dialect) []wirePart {
	if !slices.ContainsFunc(parts, func(p backend.Part) bool { return p.Media != nil }) {
		return nil
	}
	var all []wirePart
	for _, p := range parts {
		if p.Channel != backend.Content {
			continue
		}
		if p.Media == nil {
			all = append(all, wirePart{Type: "text", Text: &p.Text})
			continue
		}
		all = append(all, encodeMedia(p.Media, d))
	}
	return all
}

func encodeMedia(m *backend.Media, d *dialect) wirePart {
	at := m.URL
	data := base64.StdEncoding.EncodeToString(m.Data)
	if at == "" {
		at = "data:" + m.Type + ";base64," + data
	}
	switch m.Modality {
	case backend.Audio:
		if d.AudioURL {
			return wirePart{Type: "audio_url", AudioURL: &wireImage{URL: at}}
		}
		return wirePart{Type: "input_audio", InputAudio: &wireAudio{data, audioFormat(m.Type)}}
	case backend.Video:
		return wirePart{Type: "video_url", VideoURL: &wireImage{URL: at}}
	case backend.File:
		return wirePart{Type: "file", File: &wireFile{m.Name, at}}
	}
	return wirePart{Type: "image_url", ImageURL: &wireImage{at, m.Detail}}
}

// audioFormat is what the API calls a media type: the name of its format.
func audioFormat(mediaType string) string {
	_, format, _ := strings.Cut(mediaType, "/")
	switch format = strings.TrimPrefix(format, "x-"); format {
	case "mpeg":
		return "mp3"
	case "wave", "vnd.wave":
		return "wav"
	}
	return format
}
