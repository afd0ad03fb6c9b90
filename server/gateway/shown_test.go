package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"slices"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/gateway"
)

// seen tells of the parts of an answer.
func seen(said gateway.Collected) string {
	var all []string
	for _, p := range said.Parts {
		if m := p.Media; m != nil {
			all = append(all, fmt.Sprintf("<%s %s %s%s %s>", m.Modality, m.Type, m.Data, m.URL, m.Name))
		} else {
			all = append(all, p.Text)
		}
	}
	return strings.Join(all, "|")
}

func shown(m backend.Media) backend.Event { return backend.Event{Kind: backend.Shown, Media: &m} }

// What no guard sees into is the policy's to decide, and the strings beside it are
// judged as all others.
func TestMediaOfAnAnswerIsJudged(t *testing.T) {
	text := func(s string) backend.Event {
		return backend.Event{Kind: backend.Delta, Channel: backend.Content, Text: s}
	}
	picture := shown(backend.Media{Modality: backend.Image, Type: "image/png", Data: []byte("PNG")})
	named := shown(backend.Media{Modality: backend.Image, Type: "image/png", Data: []byte("PNG"), Name: "看 zorblatt.png"})
	chinese := shown(backend.Media{Modality: backend.Image, Type: "image/png", Data: []byte("PNG"), Name: "绝密图.png"})
	at := shown(backend.Media{Modality: backend.Video, URL: "https://v.example/zorblatt"})
	odd := shown(backend.Media{Modality: backend.Image, Type: "image/zorblatt", Data: []byte("PNG")})
	const words = "{guard: lexicon, terms: [zorblatt, 绝密], action: redact, placeholder: '#'}"
	rules := func(output ...string) string {
		return "kind: Policy\nname: own\ntenant: acme\nsafety: {output: [" + strings.Join(output, ", ") + "]}\n"
	}
	for _, c := range []struct {
		name, policy string
		events       []backend.Event
		want, found  string
		finish       backend.FinishReason
	}{
		{"no rules", "", []backend.Event{text("a"), named, text("b")}, "a|<image image/png PNG 看 zorblatt.png>|b", "", backend.FinishStop},
		{"rules on text alone", rules(words), []backend.Event{text("a"), picture, text("b")}, "a", "own unseen_media block media/image", backend.FinishSafety},
		{"a rule that lets pass", rules(words, "{id: m, guard: media, action: flag}"), []backend.Event{text("a"), picture, text("b")},
			"a|<image image/png PNG >|b", "own m flag media/image", backend.FinishStop},
		{"its place is behind held text", rules(words, "{id: m, guard: media, action: shadow}"), []backend.Event{text("zorb"), picture, text("latt")},
			"#|<image image/png PNG >", "own m shadow media/image", backend.FinishStop},
		{"a rule that blocks", rules("{id: m, guard: media, modalities: [image], action: block}"), []backend.Event{text("a"), at, picture, text("b")},
			"a|<video  https://v.example/zorblatt >", "own m block media/image", backend.FinishSafety},
		{"a rule that redacts", rules("{id: m, guard: media, action: redact}"), []backend.Event{text("a"), named, text("b")},
			"a[IMAGE]b", "own m redact media/image", backend.FinishStop},
		{"a name", rules(words, "{id: m, guard: media, action: shadow}"), []backend.Event{named, chinese}, "<image image/png PNG 看 #.png>|<image image/png PNG #图.png>", "", backend.FinishStop},
		{"an address", rules(words, "{id: m, guard: media, action: shadow}"), []backend.Event{text("a"), at}, "a", "", backend.FinishStop},
		{"a type", rules(words, "{id: m, guard: media, action: shadow}"), []backend.Event{text("a"), odd}, "a", "", backend.FinishStop},
		{"another modality", rules(words, "{id: m, guard: media, modalities: [image], action: flag}"), []backend.Event{picture, at},
			"<image image/png PNG >", "own unseen_media block media/video", backend.FinishSafety},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, c.policy)
			said, answer := h.recite(newCall("hi"), append(slices.Clone(c.events), backend.Event{Kind: backend.Finished, Finish: backend.FinishStop})...)
			if got := seen(said); got != c.want || answer.Finish[0] != c.finish {
				t.Errorf("answer is %s (%s), want %s", got, answer.Finish[0], c.want)
			}
			found := ""
			for _, v := range answer.Verdicts {
				if v.Guard == "media" {
					found = fmt.Sprintf("%s %s %s %s", strings.TrimPrefix(v.Policy, "acme/"), v.Rule, v.Action, v.Category)
				}
			}
			if c.found != "" && found != c.found {
				t.Errorf("the last verdict on media is %q, want %q", found, c.found)
			}
		})
	}
}

// What a policy or a model refuses is refused before anything is spent.
func TestImagesAreDrawnOrRefusedBeforehand(t *testing.T) {
	ask := func(h *house, m backend.Modality, prompt string) (gateway.Collected, *gateway.Answer, error) {
		call := newCall(prompt)
		call.Request.Modalities = []backend.Modality{m}
		most := 400
		call.Request.MaxOutputTokens = &most
		var c gateway.Collector
		answer, err := h.Generate(context.Background(), call, &c)
		if all := c.Candidates(); len(all) > 0 {
			return all[0], answer, err
		}
		return gateway.Collected{}, answer, err
	}
	h := newHouse(t, "")
	said, answer, err := ask(h, backend.Image, "say: Voilà\n")
	reported, _ := answer.Usage.OutputTokens()
	if counted, _ := answer.OwnUsage.OutputTokens(); err != nil || len(said.Parts) != 2 || reported < 256 || counted != reported {
		t.Fatalf("answer is %+v: %v", answer, err)
	}
	if picture, err := png.Decode(bytes.NewReader(said.Parts[1].Media.Data)); err != nil || picture.Bounds().Dx() != 64 {
		t.Errorf("the image is none: %v", err)
	}
	again, _, _ := ask(h, backend.Image, "say: Voilà\n")
	other, _, _ := ask(h, backend.Image, "say: 画\n")
	if !bytes.Equal(said.Parts[1].Media.Data, again.Parts[1].Media.Data) || bytes.Equal(said.Parts[1].Media.Data, other.Parts[1].Media.Data) {
		t.Error("the same request gets another image, or another request the same")
	}

	var e *gateway.Error
	if _, answer, err = ask(h, backend.Audio, "hi"); !errors.As(err, &e) || e.Reason != gateway.UnsupportedFeature || e.Field != "config.response_modalities" || answer.Attempts != 0 {
		t.Errorf("error is %v after %d attempts", err, answer.Attempts)
	}
	h = newHouse(t, redacting)
	if _, answer, err = ask(h, backend.Image, "hi"); !errors.As(err, &e) || e.Reason != gateway.InputBlocked || len(e.Verdicts) != 1 ||
		e.Verdicts[0].Rule != policy.UnseenRule || !strings.Contains(e.Message, "guard media") || answer.Attempts != 0 {
		t.Errorf("error is %v after %d attempts", err, answer.Attempts)
	}
}

func TestAnAnswerHasNoMoreMediaThanFits(t *testing.T) {
	h := newHouse(t, "")
	half := backend.Media{Modality: backend.Image, Type: "image/png", Data: make([]byte, backend.MaxAnswerMedia/2+1)}
	h.reciting(shown(half), shown(half), backend.Event{Kind: backend.Finished, Finish: backend.FinishStop})
	var c gateway.Collector
	_, err := h.Generate(context.Background(), newCall("hi"), &c)
	var e *gateway.Error
	if !errors.As(err, &e) || e.Reason != gateway.BackendProtocol || !strings.Contains(e.Message, "more than 20 MiB of media") {
		t.Errorf("error is %v", err)
	}
}

// A rule on media in prompts blocks them, or has a placeholder stand for them.
func TestMediaOfAPromptIsJudged(t *testing.T) {
	for _, c := range []struct{ action, want string }{
		{"block", ""}, {"redact", "[IMAGE]"}, {"flag", "1 media: image image/png of 3 bytes"},
	} {
		h := newHouse(t, "kind: Policy\nname: own\ntenant: acme\nsafety: {input: [{id: m, guard: media, action: "+c.action+"}]}\n")
		call := newCall("describe:")
		message := &call.Request.Messages[0]
		message.Parts = append(message.Parts, backend.Part{Channel: backend.Content, Media: &backend.Media{Modality: backend.Image, Type: "image/png", Data: []byte("PNG")}})
		if c.action == "redact" { // the simulator says what it has got
			message.Parts[0].Text = "say: "
		}
		var said gateway.Collector
		answer, err := h.Generate(context.Background(), call, &said)
		var e *gateway.Error
		if c.action == "block" {
			if !errors.As(err, &e) || e.Reason != gateway.InputBlocked || answer.Attempts != 0 || e.Verdicts[0].Category != "media/image" {
				t.Errorf("error is %v", err)
			}
			continue
		}
		if err != nil || said.Candidates()[0].Content != c.want || len(answer.Verdicts) != 1 || answer.Verdicts[0].Part != 1 {
			t.Errorf("%s: answer is %q, found %+v: %v", c.action, said.Candidates()[0].Content, answer.Verdicts, err)
		}
	}
}

// The output log keeps what an image of an answer was, and none of its bytes.
func TestNoByteOfAnAnswersMediaIsKept(t *testing.T) {
	for _, mode := range []string{"metadata", "redacted", "full"} {
		h := newHouse(t, "kind: Policy\nname: keep\noutputs: {mode: "+mode+"}\n")
		list := h.recording()
		h.recite(newCall("hi"), backend.Event{Kind: backend.Delta, Channel: backend.Content, Text: "look"},
			shown(backend.Media{Modality: backend.Image, Type: "image/png", Data: []byte("canary-bytes"), Name: "canary-name"}),
			backend.Event{Kind: backend.Finished, Finish: backend.FinishStop})
		if len(*list) != 1 {
			t.Fatalf("%d records", len(*list))
		}
		r := (*list)[0]
		text, err := json.Marshal(r)
		if err != nil || strings.Contains(string(text), "canary") || strings.Contains(string(text), "Y2FuYXJ5") {
			t.Errorf("%s keeps %s, %v", mode, text, err)
		}
		if mode == "metadata" {
			continue
		}
		if parts := r.Candidates[0].Parts; len(parts) != 2 || parts[1].Modality != "image" || parts[1].Type != "image/png" || parts[1].Bytes != 12 {
			t.Errorf("%s keeps parts %+v", mode, parts)
		}
	}
}

// What audio says is judged as text, and audio of which a rule has changed a word is
// none any more.
func TestAudioGoesOnlyWithItsTranscript(t *testing.T) {
	say := func(s string) backend.Event {
		return backend.Event{Kind: backend.Delta, Channel: backend.Transcript, Text: s}
	}
	sound := shown(backend.Media{Modality: backend.Audio, Type: "audio/wav", Data: []byte("WAV")})
	for _, c := range []struct {
		rule   string
		events []backend.Event
		want   string
		finish backend.FinishReason
	}{
		{"{guard: lexicon, terms: [绝密], action: redact, placeholder: '#'}", []backend.Event{say("今天"), say("天气好"), sound}, "今天天气好|<audio audio/wav WAV >", backend.FinishStop},
		{"{guard: lexicon, terms: [绝密], action: redact, placeholder: '#'}", []backend.Event{say("这是绝"), say("密文件"), sound}, "这是#文件", backend.FinishStop},
		{"{guard: lexicon, terms: [绝密], action: redact, placeholder: ''}", []backend.Event{say("这是绝密"), sound}, "这是", backend.FinishStop},
		{"{guard: lexicon, terms: [绝密], action: redact, placeholder: ''}", []backend.Event{say("绝密文件"), sound}, "文件", backend.FinishStop},
		{"{guard: lexicon, terms: [绝密], action: flag}", []backend.Event{say("这是绝密"), sound}, "这是绝密|<audio audio/wav WAV >", backend.FinishStop},
		{"{guard: lexicon, terms: [绝密], action: block}", []backend.Event{say("这是绝"), say("密文件"), sound}, "这是", backend.FinishSafety},
		{"{guard: lexicon, terms: [zorblatt], action: block}", []backend.Event{say("zorb"), sound, say("latt")}, "", backend.FinishSafety},
	} {
		h := newHouse(t, "kind: Policy\nname: own\ntenant: acme\nsafety: {output: ["+c.rule+", {guard: media, action: shadow}]}\n")
		said, answer := h.recite(newCall("hi"), append(c.events, backend.Event{Kind: backend.Finished, Finish: backend.FinishStop})...)
		if got := seen(said); got != c.want || answer.Finish[0] != c.finish {
			t.Errorf("%s: answer is %q (%s), want %q (%s)", c.rule, got, answer.Finish[0], c.want, c.finish)
		}
	}
}
