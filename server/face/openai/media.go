package openai

import (
	"encoding/base64"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/face"
)

// chatMedia are the fields of parts that are no text.
type chatMedia struct {
	ImageURL struct {
		URL    string `json:"url"`
		Detail string `json:"detail"`
	} `json:"image_url"`
	VideoURL struct { // not OpenAI's own; vLLM and Qwen take it
		URL string `json:"url"`
	} `json:"video_url"`
	InputAudio struct {
		Data   string `json:"data"`
		Format string `json:"format"`
	} `json:"input_audio"`
	File struct {
		ID   string `json:"file_id"`
		Name string `json:"filename"`
		Data string `json:"file_data"`
	} `json:"file"`
}

// The bounds of weir.v1.
const (
	maxURL      = 8192
	maxFileName = 256
)

var (
	mediaType   = regexp.MustCompile(`^[a-z]+/[a-z0-9.+-]{1,64}$`)
	audioFormat = regexp.MustCompile(`^[a-z0-9.-]{1,32}$`)
)

func (m *chatMedia) media(kind, at string) (*backend.Media, error) {
	switch kind {
	case "image_url":
		out, err := addressed(backend.Image, m.ImageURL.URL, at+".image_url.url")
		if err == nil && (m.ImageURL.Detail == string(backend.DetailLow) || m.ImageURL.Detail == string(backend.DetailHigh)) {
			out.Detail = backend.Detail(m.ImageURL.Detail)
		}
		return out, err
	case "video_url":
		return addressed(backend.Video, m.VideoURL.URL, at+".video_url.url")
	case "input_audio":
		if !audioFormat.MatchString(m.InputAudio.Format) {
			return nil, face.Invalid(at+".input_audio.format", "must name the format, such as wav or mp3")
		}
		format := m.InputAudio.Format
		if format == "mp3" {
			format = "mpeg"
		}
		data, err := base64.StdEncoding.DecodeString(m.InputAudio.Data)
		if err != nil || len(data) == 0 {
			return nil, face.Invalid(at+".input_audio.data", "must be the bytes in base64")
		}
		return &backend.Media{Modality: backend.Audio, Type: "audio/" + format, Data: data}, nil
	}
	switch {
	case m.File.ID != "":
		return nil, unsupported(at+".file.file_id", "files that a provider keeps belong to the operator's account there: send file_data")
	case utf8.RuneCountInString(m.File.Name) > maxFileName:
		return nil, face.Invalid(at+".file.filename", "must have at most %d characters", maxFileName)
	}
	out, err := addressed(backend.File, m.File.Data, at+".file.file_data")
	if err == nil {
		out.Name = m.File.Name
	}
	return out, err
}

// addressed is media at an address, or within one: a data URL.
func addressed(kind backend.Modality, address, at string) (*backend.Media, error) {
	rest, inline := strings.CutPrefix(address, "data:")
	if !inline {
		if !strings.HasPrefix(address, "https://") || len(address) > maxURL || !utf8.ValidString(address) {
			return nil, face.Invalid(at, "must be an address that begins with https:// and has at most %d bytes, or a data URL", maxURL)
		}
		return &backend.Media{Modality: kind, URL: address}, nil
	}
	of, text, found := strings.Cut(rest, ";base64,")
	data, err := base64.StdEncoding.DecodeString(text)
	if !found || err != nil || len(data) == 0 || !mediaType.MatchString(of) {
		return nil, face.Invalid(at, "is no data URL: write data:TYPE;base64,BYTES with a type such as image/png")
	}
	return &backend.Media{Modality: kind, Type: of, Data: data}, nil
}
