package anthropic

import (
	"encoding/base64"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
)

// signer is who signs what this API signs.
const signer = "anthropic"

// reserved are the parameters that are no vendor options beside those that the
// driver sets itself: they change who answers, what it costs, or run something
// that no rule sees.
var reserved = []string{
	"service_tier", "speed", "inference_geo", "mcp_servers", "container", "betas", "thinking", "output_config", "system",
	"tools", "tool_choice", "stop_sequences", "temperature", "top_p", "top_k", "cache_control",
}

type thinkingBlock struct {
	Type      string  `json:"type"`
	Thinking  *string `json:"thinking,omitempty"`
	Signature string  `json:"signature,omitempty"`
	Data      string  `json:"data,omitempty"`
}

type mediaBlock struct {
	Type   string      `json:"type"`
	Source mediaSource `json:"source"`
	Title  string      `json:"title,omitempty"`
	Cache  *cacheBlock `json:"cache_control,omitempty"`
}

type mediaSource struct {
	Type      string `json:"type"`
	MediaType string `json:"media_type,omitempty"`
	Data      string `json:"data,omitempty"`
	URL       string `json:"url,omitempty"`
}

type cacheBlock struct {
	Type string `json:"type"`
	TTL  string `json:"ttl,omitempty"`
}

// cache writes a hint: the API keeps prompts for five minutes or for an hour.
func cache(h *backend.CacheHint) *cacheBlock {
	switch {
	case h == nil:
		return nil
	case h.Long():
		return &cacheBlock{"ephemeral", "1h"}
	}
	return &cacheBlock{Type: "ephemeral"}
}

// contentOf are the blocks of content that is not a call or its result. Parts of
// text that nothing parts are one block.
func contentOf(parts []backend.Part) (blocks []any) {
	var text strings.Builder
	flush := func(h *backend.CacheHint) {
		if s := text.String(); strings.TrimSpace(s) != "" {
			blocks = append(blocks, textBlock{"text", s, cache(h)})
		}
		text.Reset()
	}
	for _, p := range parts {
		switch {
		case p.Media != nil:
			flush(nil)
			blocks = append(blocks, media(p))
		case p.Channel == backend.Content || p.Channel == backend.Refusal || p.Channel == backend.Result:
			text.WriteString(p.Text)
			if p.Cache != nil {
				flush(p.Cache)
			}
		}
	}
	flush(nil)
	return blocks
}

// media is an image or a document. A document that is text is said as such.
func media(p backend.Part) mediaBlock {
	m := p.Media
	b := mediaBlock{Type: "image", Cache: cache(p.Cache)}
	if m.Modality == backend.File {
		b.Type, b.Title = "document", m.Name
	}
	switch {
	case m.URL != "":
		b.Source = mediaSource{Type: "url", URL: m.URL}
	case m.Type == "text/plain":
		b.Source = mediaSource{Type: "text", MediaType: m.Type, Data: strings.ToValidUTF8(string(m.Data), "\uFFFD")}
	default:
		b.Source = mediaSource{Type: "base64", MediaType: m.Type, Data: base64.StdEncoding.EncodeToString(m.Data)}
	}
	return b
}

// result is that of one call: the parts that follow each other with its id.
func result(parts []backend.Part) resultBlock {
	n := 1
	for n < len(parts) && parts[n].Channel == backend.Result && parts[n].CallID == parts[0].CallID {
		n++
	}
	first := parts[0]
	out := resultBlock{Type: "tool_result", ToolUseID: callID(first.CallID), Content: first.Text, IsError: first.Failed, Cache: cache(first.Cache)}
	if n > 1 || first.Media != nil {
		blocks := contentOf(parts[:n])
		out.Content = append([]any{}, blocks...)
	}
	return out
}

// thinkingOf is what the model thought, as the API wants it back; nil where it
// would not take it.
func thinkingOf(p backend.Part) any {
	switch s := p.Signature; {
	case s == nil || s.Signer != signer:
		return nil
	case s.Hidden:
		return thinkingBlock{Type: "redacted_thinking", Data: s.Data}
	default:
		return thinkingBlock{Type: "thinking", Thinking: &p.Text, Signature: s.Data}
	}
}
