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

// modalities reads what the answer may be: text, and images or audio beside it.
func (in *chatRequest) modalities(out *backend.Request) error {
	if !says(in.Modalities) {
		return nil
	}
	var names []string
	if json.Unmarshal(in.Modalities, &names) != nil {
		return face.Invalid("modalities", "must be an array of text, image and audio")
	}
	seen := map[string]bool{}
	for _, name := range names {
		switch {
		case name != "text" && name != "image" && name != "audio":
			return face.Invalid("modalities", "must be an array of text, image and audio")
		case name != "text" && !seen[name]:
			out.Modalities = append(out.Modalities, backend.Modality(name))
		}
		seen[name] = true
	}
	switch {
	case !seen["audio"]:
		return nil
	case in.Audio == nil:
		return face.Invalid("audio", "missing: say in which voice and format (wav, or pcm16) the answer shall be")
	case in.Audio.Format != formatWAV && in.Audio.Format != formatPCM:
		return unsupported("audio.format", "answers in audio are in wav or pcm16: send one of them")
	case !voice.MatchString(in.Audio.Voice):
		return face.Invalid("audio.voice", "must be the name of a voice, of at most 64 letters, digits, dots and dashes")
	}
	out.Voice = in.Audio.Voice
	return nil
}
