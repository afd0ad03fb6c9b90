package gateway

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/cache"
)

// full is a request in which everything is set.
func full() backend.Request {
	x, n, seed, yes := 0.5, 7, int64(9), true
	hint := &backend.CacheHint{TTL: time.Minute}
	part := backend.Part{
		Channel: backend.Content, Text: "text 文字", CallID: "id", Tool: "tool", Failed: true,
		Media:     &backend.Media{Modality: backend.Image, Type: "image/png", Data: []byte("data"), URL: "https://x", Name: "name", Detail: backend.DetailLow},
		Signature: &backend.Signature{Signer: "a", Data: "b", Hidden: true}, Cache: hint,
		Logprobs: []backend.Logprob{{Token: "t", Bytes: []byte("b"), Logprob: -1, Alternatives: []backend.Logprob{{Token: "u"}}}},
	}
	return backend.Request{
		RequestID: "r", TraceContext: map[string]string{"a": "b"}, Model: "m",
		Messages:    []backend.Message{{Role: backend.User, Name: "n", Parts: []backend.Part{part}}},
		Temperature: &x, TopP: &x, TopK: &n, FrequencyPenalty: &x, PresencePenalty: &x, MaxOutputTokens: &n, Stop: []string{"s"}, Seed: &seed,
		Tools:  []backend.Tool{{Name: "tool", Description: "d", Parameters: json.RawMessage("{}"), Strict: &yes, Cache: hint}},
		Choice: &backend.ToolChoice{Mode: backend.ToolNamed, Tool: "tool"}, ParallelCalls: &yes,
		Format:    &backend.Format{Schema: json.RawMessage("{}"), Name: "n", Description: "d", Strict: &yes, Repairs: 1},
		Reasoning: &backend.ReasoningWish{}, Logprobs: &n, CacheKey: "k", Vendor: backend.VendorOptions{"openai": json.RawMessage("{}")},
		DropUnsupported: true, Candidates: 1, Modalities: []backend.Modality{backend.Image}, Voice: "v", ServiceClass: "flex",
	}
}

func keyOf(r backend.Request) cache.Key {
	return recallKey(&Call{Model: "m", Caller: auth.Caller{Tenant: "t", Project: "p"}}, r)
}

// vary calls try after each change of one thing below v, which it then undoes.
func vary(at string, v reflect.Value, try func(at string)) {
	before := reflect.New(v.Type()).Elem()
	before.Set(v)
	set := func(to reflect.Value, how string) {
		v.Set(to)
		try(at + how)
		v.Set(before)
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			vary(at+"."+v.Type().Field(i).Name, v.Field(i), try)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			inner := reflect.New(v.Type().Elem())
			inner.Elem().Set(v.Elem())
			vary(at, inner.Elem(), func(how string) { v.Set(inner); try(how); v.Set(before) })
		}
		set(reflect.Zero(v.Type()), "=nil")
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			set(reflect.ValueOf([]byte("other")).Convert(v.Type()), "=other")
			return
		}
		for i := range v.Len() {
			list := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(list, v)
			vary(fmt.Sprintf("%s[%d]", at, i), list.Index(i), func(how string) { v.Set(list); try(how); v.Set(before) })
		}
		if v.Len() > 0 {
			set(reflect.AppendSlice(v, v), "=twice")
		}
	case reflect.Map:
		other := reflect.MakeMap(v.Type())
		other.SetMapIndex(reflect.ValueOf("other").Convert(v.Type().Key()), reflect.Zero(v.Type().Elem()))
		set(other, "=other")
	case reflect.String:
		set(reflect.ValueOf(v.String()+"x").Convert(v.Type()), "+x")
	case reflect.Bool:
		set(reflect.ValueOf(!v.Bool()), "=not")
	case reflect.Float64:
		set(reflect.ValueOf(v.Float()+0.25), "+0.25")
	case reflect.Int, reflect.Int64:
		set(reflect.ValueOf(v.Int()+1).Convert(v.Type()), "+1")
	default:
		panic(at + " is a " + v.Kind().String())
	}
}

// Whatever of a request is another, its answer is another's: also what is added
// to requests later.
func TestEveryFieldIsInTheKey(t *testing.T) {
	request := full()
	want, seen := keyOf(request), map[cache.Key]string{}
	for i := range reflect.TypeFor[backend.Request]().NumField() {
		if reflect.ValueOf(request).Field(i).IsZero() {
			t.Errorf("%s is not set: set it in full", reflect.TypeFor[backend.Request]().Field(i).Name)
		}
	}
	count := 0
	vary("request", reflect.ValueOf(&request).Elem(), func(at string) {
		count++
		key := keyOf(request)
		switch at {
		case "request.RequestID+x", "request.TraceContext=other", "request.Candidates+1": // not asked for; or not looked for
			if key != want {
				t.Errorf("%s is in the key", at)
			}
			return
		}
		if key == want {
			t.Errorf("%s is not in the key", at)
		}
		if other, taken := seen[key]; taken {
			t.Errorf("%s has the key of %s", at, other)
		}
		seen[key] = at
	})
	if count < 60 || keyOf(request) != want {
		t.Errorf("%d changes were tried, and undone: %t", count, keyOf(request) == want)
	}
}

// What is moved from one field to the next is not the same either.
func TestKeysAreTheSameForTheSameAlone(t *testing.T) {
	words := rapid.SampledFrom([]string{"", "a", "b", "ab", "水"})
	type who struct{ Tenant, Project, Model string }
	draw := func(r *rapid.T) (who, backend.Request) {
		w := who{words.Draw(r, "tenant"), words.Draw(r, "project"), words.Draw(r, "model")}
		var q backend.Request
		for range rapid.IntRange(0, 2).Draw(r, "messages") {
			m := backend.Message{Role: backend.Role(words.Draw(r, "role")), Name: words.Draw(r, "name")}
			for range rapid.IntRange(0, 2).Draw(r, "parts") {
				m.Parts = append(m.Parts, backend.Part{Channel: backend.Channel(words.Draw(r, "channel")), Text: words.Draw(r, "text"), Tool: words.Draw(r, "tool")})
			}
			q.Messages = append(q.Messages, m)
		}
		for range rapid.IntRange(0, 2).Draw(r, "stops") {
			q.Stop = append(q.Stop, words.Draw(r, "stop"))
		}
		q.CacheKey = words.Draw(r, "cache key")
		return w, q
	}
	rapid.Check(t, func(r *rapid.T) {
		w1, q1 := draw(r)
		w2, q2 := draw(r)
		key := func(w who, q backend.Request) cache.Key {
			return recallKey(&Call{Model: w.Model, Caller: auth.Caller{Tenant: w.Tenant, Project: w.Project}}, q)
		}
		if same, asked := key(w1, q1) == key(w2, q2), w1 == w2 && reflect.DeepEqual(q1, q2); same != asked {
			r.Fatalf("%+v %+v and %+v %+v: the same key is %t", w1, q1, w2, q2, same)
		}
	})
}
