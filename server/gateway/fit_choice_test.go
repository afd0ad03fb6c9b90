package gateway_test

import (
	"context"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/route"
)

// limited is a backend that can do what it says, and no more.
type limited struct {
	backend.Backend
	can backend.Capabilities
}

func (l limited) Capabilities(string) backend.Capabilities { return l.can }

// What a target cannot be held to, or does not fetch, is refused by its name
// before there is an attempt.
func TestWhatATargetCannotDoIsNamed(t *testing.T) {
	h := newHouse(t, "")
	router, err := route.New([]route.Model{{Name: "sim", MaxOutputTokens: 100, Targets: []route.Target{{Name: "b", Model: "sim", Backend: limited{h.Sim, backend.Capabilities{
		Candidates: 1, Tools: true, ToolChoices: []backend.ToolMode{backend.ToolAuto, backend.ToolNone},
		Media: map[backend.Modality]int64{backend.Image: 9, backend.Audio: 9}, MediaURLs: []backend.Modality{backend.Image},
	}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	h.House.Router = func() *route.Router { return router }
	choose := func(mode backend.ToolMode) *gateway.Call {
		call := newCall("hi")
		call.Request.Tools, call.Request.Choice = weather, &backend.ToolChoice{Mode: mode, Tool: "now"}
		return call
	}
	from := func(m backend.Modality) *gateway.Call {
		call := newCall("hi")
		call.Request.Messages[0].Parts = append(call.Request.Messages[0].Parts, backend.Part{Channel: backend.Content, Media: &backend.Media{Modality: m, URL: "https://example.org/a"}})
		return call
	}
	for _, c := range []struct {
		call *gateway.Call
		want string // in the error; empty for none
	}{
		{choose(backend.ToolAuto), ""},
		{choose(backend.ToolNone), ""},
		{choose(backend.ToolRequired), `"required"`},
		{choose(backend.ToolNamed), `"named"`},
		{from(backend.Image), ""},
		{from(backend.Audio), "does not fetch audio from an address"},
	} {
		_, answer, err := h.ask(context.Background(), c.call)
		switch {
		case c.want == "" && err != nil:
			t.Error(err)
		case c.want != "" && (reason(err) != gateway.UnsupportedFeature || answer.Attempts != 0 || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v, %v, want one that says %s", answer, err, c.want)
		}
	}
}
