package main

import (
	"fmt"

	"github.com/weir-gateway/weir/server/backend/oip"
)

// OIPConfig is how a server of kind oip is to be spoken to.
type OIPConfig struct {
	// Template makes one text of a chat: chatml (where nothing is said) or plain.
	Template oip.Template `yaml:"template"`
	// Streaming is how it answers in pieces: auto (where nothing is said), triton,
	// mlserver or none.
	Streaming oip.Streaming `yaml:"streaming"`
	// Prompt, Text and Vector name its tensors: text_input, text_output and
	// embedding where nothing is said.
	Prompt string `yaml:"prompt"`
	Text   string `yaml:"text"`
	Vector string `yaml:"vector"`
}

func (c OIPConfig) check(kind string) (field, problem string) {
	switch {
	case kind != "oip" && c != OIPConfig{}:
		return "oip", fmt.Sprintf("a backend of kind %s has no tensors: leave it out", kind)
	case c.Template != "" && c.Template != oip.ChatML && c.Template != oip.Plain:
		return "oip.template", fmt.Sprintf("unknown template %q: known are chatml and plain", c.Template)
	}
	switch c.Streaming {
	case "", oip.Auto, oip.Triton, oip.MLServer, oip.Whole:
		return "", ""
	}
	return "oip.streaming", fmt.Sprintf("unknown streaming %q: known are auto, mlserver, none and triton", c.Streaming)
}
