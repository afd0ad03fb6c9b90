package httpstream

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
)

// Members and Elements see what the JSON decoder sees.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{`{}`, ` { "a" : 1 , "b":[1,{"c":"}]"}], "\u0061":"x\"y\\" , "e":null}`, `[1, "a,b" ,[2],{"x":{}} ]`, `[]`, `"s"`, `{"a":-1.5e3,"a":true}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if !json.Valid([]byte(in)) {
			return
		}
		var object map[string]json.RawMessage
		if json.Unmarshal([]byte(in), &object) == nil {
			got := map[string]json.RawMessage{}
			for name, value := range Members([]byte(in)) {
				got[text(name)] = value
			}
			if len(object) == 0 {
				object = map[string]json.RawMessage{}
			}
			if !strings.ContainsRune(in, '\uFFFD') && !strings.Contains(in, `\`) && strings.ToValidUTF8(in, "") == in && !reflect.DeepEqual(got, object) {
				t.Fatalf("members are %s, want %s", got, object)
			}
		}
		var list []json.RawMessage
		if json.Unmarshal([]byte(in), &list) == nil {
			var got []json.RawMessage
			for value := range Elements([]byte(in)) {
				got = append(got, value)
			}
			if fmt.Sprintf("%s", got) != fmt.Sprintf("%s", list) {
				t.Fatalf("elements are %s, want %s", got, list)
			}
		}
	})
}

func TestExtrasKeepWhatIsNotKnown(t *testing.T) {
	var e Extras
	known := []string{"id", "Error"}
	e.Add([]byte(`{"id": 1, "ERROR": 2, "\u0069d": 3, "a": "x", "n": null, "tags": ["y"]}`), known)
	e.Add([]byte(`{"a": "z", "tags": ["w"]}`), known)
	e.Append([]byte(`{"more": [1]}`), known)
	e.Append([]byte(`{"more": [2, {"b": 3}], "error": 4}`), known)
	if got, want := string(e.Object()), `{"a":"z","more":[1,2,{"b":3}],"tags":["w"]}`; got != want {
		t.Errorf("extras are %s, want %s", got, want)
	}
	e.Add([]byte(`{"a": 1, "large": "`+strings.Repeat("x", backend.MaxExtras)+`", "small": 2}`), nil)
	if got, want := string(e.Object()), `{"a":1,"more":[1,2,{"b":3}],"small":2,"tags":["w"]}`; got != want {
		t.Errorf("extras are %s, want %s", got, want)
	}
	for i := range backend.MaxExtras {
		e.Append(fmt.Appendf(nil, `{"more": [%d], "k%d": 1}`, i, i), nil)
	}
	if n := len(e.Object()); n > backend.MaxExtras+2 {
		t.Errorf("extras have grown to %d bytes", n)
	}
	if (&Extras{}).Object() != nil {
		t.Error("nothing is something")
	}
}
