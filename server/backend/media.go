package backend

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// A Modality is a kind of content that is no text.
type Modality string

// The modalities.
const (
	Image Modality = "image"
	Audio Modality = "audio"
	Video Modality = "video"
	File  Modality = "file" // a document, such as a PDF
)

// Modalities lists them in a fixed order.
func Modalities() []Modality { return []Modality{Image, Audio, Video, File} }

// A Media is content that is no text. A driver must not change it. It is either
// Data or a URL, from which the backend fetches it, or the caller where it is of
// an answer: the gateway does not.
type Media struct {
	Modality Modality
	// Type is the IANA media type, such as image/png. It is there beside Data.
	Type string
	Data []byte
	URL  string
	// Name is that of the file, or the title of the document; empty for none.
	Name string
	// Detail is how closely an image is looked at.
	Detail Detail
}

// A Detail is how closely an image is looked at, which sets its tokens. Empty
// is the model's default.
type Detail string

// The details.
const (
	DetailLow  Detail = "low"
	DetailHigh Detail = "high"
)

// Media returns the media of a request, in order.
func (r *Request) Media() []*Media {
	var all []*Media
	for i := range r.Messages {
		for j := range r.Messages[i].Parts {
			if m := r.Messages[i].Parts[j].Media; m != nil {
				all = append(all, m)
			}
		}
	}
	return all
}

// MaxAnswerMedia bounds the media of an answer, in bytes: in base64 they still fit
// a message of 32 MiB, the most that gRPC servers and clients here take.
const MaxAnswerMedia = 20 << 20

// The bounds of the strings beside media.
const (
	maxMediaURL  = 8192
	maxMediaName = 1024
)

var mediaType = regexp.MustCompile(`^[a-z]+/[a-z0-9.+-]{1,64}$`)

// Check tells what is wrong with media of an answer, as an *Error. Drivers pass on
// none that fails it.
func (m *Media) Check() error {
	bad := func(format string, args ...any) error {
		return &Error{Class: Protocol, Detail: "media of the answer: " + fmt.Sprintf(format, args...)}
	}
	switch {
	case m.Modality != Image && m.Modality != Audio && m.Modality != Video && m.Modality != File:
		return bad("modality %q is none", m.Modality)
	case (len(m.Data) > 0) == (m.URL != ""):
		return bad("it has both bytes and an address, or neither")
	case m.Type == "" && m.URL == "" || m.Type != "" && !mediaType.MatchString(m.Type):
		return bad("its type is none that IANA could have")
	case len(m.Data) > MaxAnswerMedia:
		return bad("it has %d bytes, and an answer at most %d", len(m.Data), MaxAnswerMedia)
	case len(m.URL) > maxMediaURL || len(m.Name) > maxMediaName || !utf8.ValidString(m.URL) || !utf8.ValidString(m.Name):
		return bad("its address or its name is too long, or no UTF-8")
	}
	return nil
}

// ModalityOf is the modality of a media type.
func ModalityOf(mediaType string) Modality {
	kind, _, _ := strings.Cut(mediaType, "/")
	switch m := Modality(kind); m {
	case Image, Audio, Video:
		return m
	}
	return File
}

// PlainType tells that the media type says nothing but what it is. Another one is
// a string that a server may have written what it likes into.
func (m *Media) PlainType() bool {
	switch m.Type {
	case "", "image/png", "image/jpeg", "image/webp", "image/gif", "image/avif",
		"audio/wav", "audio/mpeg", "audio/aac", "audio/flac", "audio/opus", "audio/ogg", "audio/pcm",
		"video/mp4", "video/webm", "application/pdf":
		return true
	}
	return false
}
