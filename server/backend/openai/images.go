package openai

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// wireShown is an image of an answer. OpenAI's chats have none; OpenRouter, LiteLLM
// and others that pass on models which draw put them into images, beside the
// content, as its parts of a prompt have them.
type wireShown struct {
	ImageURL struct {
		URL string `json:"url"`
	} `json:"image_url"`
}

// modalities are what the answer may be; nil is text alone.
func modalities(wanted []backend.Modality) []string {
	if len(wanted) == 0 {
		return nil
	}
	all := []string{"text"}
	for _, m := range wanted {
		all = append(all, string(m))
	}
	return all
}

// show appends the events of images of a candidate.
func (d *decoder) show(index int, raw json.RawMessage) error {
	if len(raw) == 0 || raw[0] != '[' {
		return nil
	}
	var images []wireShown
	if err := json.Unmarshal(raw, &images); err != nil {
		return &backend.Error{Class: backend.Protocol, Detail: "images of a delta cannot be read: " + httpstream.ShapeOf(err)}
	}
	for _, image := range images {
		m := &backend.Media{Modality: backend.Image, URL: image.ImageURL.URL}
		if rest, inline := strings.CutPrefix(m.URL, "data:"); inline {
			kind, text, found := strings.Cut(rest, ";base64,")
			data, err := base64.StdEncoding.DecodeString(text)
			if !found || err != nil {
				return &backend.Error{Class: backend.Protocol, Detail: "an image of the answer is no data URL"}
			}
			m = &backend.Media{Modality: backend.Image, Type: strings.ToLower(kind), Data: data}
		}
		if err := m.Check(); err != nil {
			return err
		}
		if d.candidates[index].finished {
			return &backend.Error{Class: backend.Protocol, Detail: "an image came after the end of its candidate"}
		}
		d.events = append(d.events, backend.Event{Kind: backend.Shown, Candidate: index, Media: m})
	}
	return nil
}
