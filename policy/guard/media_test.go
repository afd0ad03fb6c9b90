package guard_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
)

// documents compiles several, and returns what holds for tenant acme.
func documents(t *testing.T, texts ...string) (*policy.Effective, error) {
	t.Helper()
	var docs []policy.Document
	for _, text := range texts {
		var n yaml.Node
		if err := yaml.Unmarshal([]byte(text), &n); err != nil {
			t.Fatal(err)
		}
		d, err := policy.ParseDocument(&n)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, d)
	}
	set, err := policy.Compile(1, docs, nil, guard.All())
	if err != nil {
		return nil, err
	}
	return set.Resolve(policy.Subject{Tenant: "acme"}), nil
}

func TestMediaNamesItsModalities(t *testing.T) {
	for options, want := range map[string]string{
		"modalities: []":            "modalities: ",
		"modalities: [image, smel]": "modalities[1]",
		"kinds: [image]":            "kinds",
	} {
		_, err := documents(t, "kind: Policy\nname: p\nsafety: {output: [{guard: media, action: flag, "+options+"}]}")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", options, err)
		}
	}
}

// Each policy decides for itself: one that lets media pass does not for another.
func TestNoPolicyLetsMediaPassForAnother(t *testing.T) {
	const (
		plain   = "kind: Policy\nname: floor\nsafety: {output: [{guard: lexicon, terms: [zz], action: ACTION}]}"
		allowed = "kind: Policy\nname: floor\nsafety: {output: [{guard: lexicon, terms: [zz], action: block}, {guard: media, modalities: [image], action: flag}]}"
		tenant  = "kind: Policy\nname: own\ntenant: acme\nsafety: {output: [{guard: media, action: flag}]}"
		block   = "kind: Policy\nname: own\ntenant: acme\nsafety: {output: [{id: none, guard: media, action: block}]}"
	)
	for _, c := range []struct {
		documents    []string
		image, audio string // the rule that blocks it
	}{
		{nil, "", ""},
		{[]string{strings.Replace(plain, "ACTION", "flag", 1)}, "", ""},
		{[]string{strings.Replace(plain, "ACTION", "redact", 1)}, "unseen_media", "unseen_media"},
		{[]string{strings.Replace(plain, "ACTION", "block", 1), tenant}, "unseen_media", "unseen_media"},
		{[]string{allowed, tenant}, "", "unseen_media"},
		{[]string{allowed, block}, "none", "unseen_media"},
		{[]string{tenant}, "", ""},
	} {
		e, err := documents(t, c.documents...)
		if err != nil {
			t.Fatal(err)
		}
		for modality, want := range map[string]string{"image": c.image, "audio": c.audio} {
			v, blocks := e.BlocksMedia(modality)
			if blocks != (want != "") || v.Rule != want {
				t.Errorf("%q: %s is blocked by %q, want %q", c.documents, modality, v.Rule, want)
			}
		}
	}
}

// Nobody is asked about a part, only about the strings beside it, and it waits for
// the text before it.
func TestNobodyIsAskedAboutMedia(t *testing.T) {
	e := asking(t, policy.Output, []string{"{guard: asker, action: redact}", "{guard: media, action: shadow}"})
	g := e.Gate("")
	say := func(channel policy.Channel, text string) []policy.Piece {
		return g.Write(nil, policy.Piece{Channel: channel, Text: text})
	}
	out := say(policy.Content, "This is the first sentence. ")
	out = append(out, say(policy.MediaPart(0), "image")...)
	out = append(out, say(policy.MediaText(0), `["","a name of more than nothing.png",""]`)...)
	out = append(out, g.End(nil, 0)...)
	if len(out) > 0 {
		t.Fatalf("released before anybody was asked: %+v", out)
	}
	questions := g.Ask()
	if len(questions) != 2 || strings.Contains(questions[0].Text+questions[1].Text, "image") {
		t.Fatalf("questions are %+v", questions)
	}
	out = g.Answer(nil, questions[1].ID, policy.Judgement{})
	if len(out) > 0 {
		t.Errorf("released out of order: %+v", out)
	}
	out = append(out, g.Answer(nil, questions[0].ID, policy.Judgement{})...)
	var channels []string
	for _, p := range out {
		channels = append(channels, string(p.Channel))
	}
	if got := strings.Join(channels, " "); got != "content content media/0 media/0/text" || !g.Ended(0) {
		t.Errorf("released %s: %+v", got, out)
	}
}
