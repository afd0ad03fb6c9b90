package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// mediaAsk is how a command asks for images and audio, and where it puts them.
type mediaAsk struct {
	Modality []string `enum:"image,audio" help:"What to ask for beside text: image or audio; may be given more than once." placeholder:"KIND"`
	Voice    string   `help:"Voice of audio, by the backend's name of it." placeholder:"NAME"`
	Save     string   `help:"Folder into which images and audio of the answer are written, made if missing." placeholder:"DIR" type:"path"`
}

// ready makes the folder, before anything is spent on what could not be kept.
func (m mediaAsk) ready() error {
	if m.Save == "" {
		return nil
	}
	if err := os.MkdirAll(m.Save, 0o755); err != nil {
		return usageError(fmt.Errorf("--save: %w: name a folder that can be made", err))
	}
	return nil
}

func (m mediaAsk) modalities() (all []weirv1.Modality) {
	for _, name := range m.Modality {
		if name == "audio" {
			all = append(all, weirv1.Modality_MODALITY_AUDIO)
		} else {
			all = append(all, weirv1.Modality_MODALITY_IMAGE)
		}
	}
	return all
}

// mediaResult is an image or audio of an answer. Its bytes are in File alone.
type mediaResult struct {
	mediaLine
	URL  string `json:"url,omitempty"`
	File string `json:"file,omitempty"` // "" where it was not saved
	data []byte
}

func mediaResultOf(m *weirv1.Media) mediaResult {
	data := m.GetData()
	return mediaResult{
		mediaLine: mediaLine{Modality: enumWord(m.Modality.String(), "MODALITY_"), MediaType: m.MediaType, SizeBytes: int64(len(data))},
		URL:       m.GetUrl(), data: data,
	}
}

// save writes what has bytes, each to a file named by its call and its place.
func (m mediaAsk) save(r *callResult) error {
	if m.Save == "" {
		return nil
	}
	for i := range r.Media {
		one := &r.Media[i]
		if one.data == nil {
			continue
		}
		name := filepath.Join(m.Save, fmt.Sprintf("%s-%d%s", filepath.Base(r.RequestID), i+1, extension(one.MediaType)))
		if err := os.WriteFile(name, one.data, 0o644); err != nil {
			return fmt.Errorf("an answer's media were not saved: %w", err)
		}
		one.File = name
	}
	return nil
}

// extension is how the name of a file of that type ends.
func extension(mediaType string) string {
	switch mediaType {
	case "image/png":
		return ".png"
	case "image/jpeg":
		return ".jpg"
	case "image/webp":
		return ".webp"
	case "image/gif":
		return ".gif"
	case "audio/wav", "audio/x-wav":
		return ".wav"
	case "audio/mpeg":
		return ".mp3"
	case "video/mp4":
		return ".mp4"
	case "application/pdf":
		return ".pdf"
	}
	return ".bin"
}

// printMedia tells of each in a line, such as "[image/png, 1,234 bytes]".
func printMedia(w io.Writer, all []mediaResult) {
	for _, m := range all {
		kind := m.MediaType
		if kind == "" {
			kind = m.Modality
		}
		where := grouped(m.SizeBytes) + " bytes"
		if m.URL != "" {
			where = m.URL
		}
		if m.File != "" {
			where += ", saved as " + m.File
		}
		fmt.Fprintf(w, "[%s, %s]\n", visible(kind), visible(where))
	}
}

// grouped is n with a comma between thousands.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
