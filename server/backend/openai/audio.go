package openai

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// wireSpeech asks for audio.
type wireSpeech struct {
	Voice  string `json:"voice"`
	Format string `json:"format"`
}

// defaultVoice is one that all of OpenAI's models of speech have: the API wants one.
const defaultVoice = "alloy"

// speech asks for the format in which alone the API streams; nil asks for no audio.
func speech(req *backend.Request) *wireSpeech {
	if !slices.Contains(req.Modalities, backend.Audio) {
		return nil
	}
	voice := req.Voice
	if voice == "" {
		voice = defaultVoice
	}
	return &wireSpeech{voice, "pcm16"}
}

// wireSpoken is a piece of audio: samples in base64, or what they say.
type wireSpoken struct {
	Data       string          `json:"data"`
	Transcript json.RawMessage `json:"transcript"`
}

// speak takes a piece of audio. Its samples wait for the end of the candidate, when
// all that they say is known.
func (d *decoder) speak(index int, raw json.RawMessage) error {
	if len(raw) == 0 || raw[0] != '{' {
		return nil
	}
	var piece wireSpoken
	if err := json.Unmarshal(raw, &piece); err != nil {
		return &backend.Error{Class: backend.Protocol, Detail: "audio of a delta cannot be read: " + httpstream.ShapeOf(err)}
	}
	a := &d.candidates[index]
	if piece.Data != "" {
		samples, err := base64.StdEncoding.DecodeString(piece.Data)
		switch {
		case err != nil || a.finished:
			return &backend.Error{Class: backend.Protocol, Detail: "audio of the answer is no base64, or came after the end of its candidate"}
		case len(a.audio)+len(samples) > backend.MaxAnswerMedia-wavHeader:
			return &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf("audio of the answer has more than %d bytes", backend.MaxAnswerMedia)}
		}
		a.audio = append(a.audio, samples...)
	}
	if !httpstream.Present(piece.Transcript) {
		return nil
	}
	if piece.Transcript[0] != '"' {
		return &backend.Error{Class: backend.Protocol, Detail: "the transcript of a delta is no string"}
	}
	return d.say(index, backend.Transcript, piece.Transcript)
}

// heard appends the audio of a candidate, whose transcript has been told.
func (d *decoder) heard(index int) {
	if a := &d.candidates[index]; len(a.audio) > 0 {
		m := &backend.Media{Modality: backend.Audio, Type: "audio/wav", Data: wav(a.audio)}
		a.audio = nil
		d.events = append(d.events, backend.Event{Kind: backend.Shown, Candidate: index, Media: m})
	}
}

// What the API's pcm16 is: mono, 16 bits, little endian.
const (
	sampleRate  = 24_000
	sampleBytes = 2
	wavHeader   = 44
)

// wav puts the header of a WAVE file (RIFF, PCM) before samples.
func wav(samples []byte) []byte {
	out := make([]byte, 0, wavHeader+len(samples))
	long := func(n uint32) { out = binary.LittleEndian.AppendUint32(out, n) }
	short := func(n uint16) { out = binary.LittleEndian.AppendUint16(out, n) }
	out = append(out, "RIFF"...)
	long(uint32(wavHeader - 8 + len(samples)))
	out = append(out, "WAVEfmt "...)
	long(16) // of what follows
	short(1) // PCM
	short(1) // channels
	long(sampleRate)
	long(sampleRate * sampleBytes)
	short(sampleBytes)
	short(8 * sampleBytes)
	out = append(out, "data"...)
	long(uint32(len(samples)))
	return append(out, samples...)
}
