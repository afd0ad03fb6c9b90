package openai

import (
	"encoding/base64"
	"encoding/json"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/face"
)

// image is one of an answer. OpenAI's chats have none: it is where OpenRouter and
// LiteLLM put them, and their clients look.
type image struct {
	Type     string `json:"type"`
	ImageURL struct {
		URL string `json:"url"`
	} `json:"image_url"`
	Index int `json:"index"`
}

// imageOf is media of an answer; false for what the API has no place for.
func imageOf(m *backend.Media, index int) (image, bool) {
	out := image{Type: "image_url", Index: index}
	out.ImageURL.URL = m.URL
	if m.URL == "" {
		out.ImageURL.URL = "data:" + m.Type + ";base64," + base64.StdEncoding.EncodeToString(m.Data)
	}
	return out, m.Modality == backend.Image
}

// imagesOf are those of the parts of a message.
func imagesOf(parts []backend.Part) (all []image) {
	for _, p := range parts {
		if p.Media == nil {
			continue
		}
		if i, ok := imageOf(p.Media, len(all)); ok {
			all = append(all, i)
		}
	}
	return all
}

// modalities reads what the answer may be: text, and images beside it.
func (in *chatRequest) modalities(out *backend.Request) error {
	if !says(in.Modalities) {
		return nil
	}
	var names []string
	if json.Unmarshal(in.Modalities, &names) != nil {
		return face.Invalid("modalities", "must be an array of text and image")
	}
	seen := map[string]bool{}
	for _, name := range names {
		switch {
		case name == "audio":
			return unsupported("modalities", "answers in audio are not supported here: leave audio out, or call weir.v1")
		case name != "text" && name != "image":
			return face.Invalid("modalities", "must be an array of text and image")
		case name == "image" && !seen[name]:
			out.Modalities = append(out.Modalities, backend.Image)
		}
		seen[name] = true
	}
	return nil
}
