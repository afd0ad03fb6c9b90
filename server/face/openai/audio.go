package openai

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"time"

	"github.com/weir-gateway/weir/server/backend"
)

// speech says how audio of an answer shall be.
type speech struct {
	Voice  string `json:"voice"`
	Format string `json:"format"`
}

// The formats. Of samples alone, as pcm16 is, OpenAI's streams are.
const (
	formatWAV = "wav"
	formatPCM = "pcm16"
)

var voice = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`) // as weir.v1 has it

// audio is that of an answer. Nothing keeps it, so it has expired when it comes, and
// its id is of no use in the next turn.
type audio struct {
	ID         string `json:"id"`
	Data       string `json:"data,omitempty"`
	Transcript string `json:"transcript,omitempty"`
	ExpiresAt  int64  `json:"expires_at,omitempty"`
}

// newAudio is that of a choice of a call.
func newAudio(requestID string, created time.Time) *audio {
	return &audio{ID: "audio_" + requestID, ExpiresAt: created.Unix()}
}

// audioOf is that of the parts of a message; nil where there is none.
func audioOf(parts []backend.Part, requestID string, created time.Time, format string) *audio {
	var out *audio
	for _, p := range parts {
		spoken := p.Media != nil && p.Media.Modality == backend.Audio
		if !spoken && p.Channel != backend.Transcript {
			continue
		}
		if out == nil {
			out = newAudio(requestID, created)
		}
		out.Transcript += p.Text
		if spoken {
			out.Data = encodeAudio(p.Media, format)
		}
	}
	return out
}

// encodeAudio writes bytes as the caller wants them: those of a WAVE file, or its
// samples alone. What is at an address has none.
func encodeAudio(m *backend.Media, format string) string {
	data := m.Data
	const header = 44
	if format == formatPCM && len(data) > header && bytes.HasPrefix(data, []byte("RIFF")) && string(data[36:40]) == "data" {
		data = data[header:]
	}
	return base64.StdEncoding.EncodeToString(data)
}
